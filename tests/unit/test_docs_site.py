"""Pages of the docs site that need no service."""

import pytest

from readmit import dbt_docs, docs_site
from tests.support.serving import contract, feature


def test_the_data_dictionary_names_every_feature_and_no_markup_of_the_contract():
    page = docs_site.data_dictionary(contract(feature("n_visits", description="<script>visits</script>")))
    assert "<table>" in page
    assert all(f"<code>{name}</code>" in page for name in ("n_medications", "diagnosis_1", "n_visits"))
    assert "<script>" not in page


def test_the_index_leads_to_the_dictionary_and_to_drift_reports():
    index = docs_site.index([], ["3"], ["2026-11-23"])
    assert all(f'href="{place}/"' in index for place in ("dictionary", "dbt", "models/3", "drift/2026-11-23"))


def asked(**verdicts):
    return [{"unique_id": f"source.readmit.raw.{name}", "status": status} for name, status in verdicts.items()]


def test_an_old_source_warns_and_one_beyond_its_limit_fails():
    assert dbt_docs.judged(asked(batches="pass", sources="warn")) == {"raw.batches": "pass", "raw.sources": "warn"}
    for verdict in ("error", "runtime error"):
        with pytest.raises(dbt_docs.SourcesTooOld, match=r"raw\.batches"):
            dbt_docs.judged(asked(batches=verdict, sources="pass"))
