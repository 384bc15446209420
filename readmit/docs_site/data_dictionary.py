"""The data dictionary, generated from the contract as Markdown.

`python -m readmit.docs_site.data_dictionary > docs/data-dictionary.md`
"""

import sys

from readmit.contract.definition import Contract


def page(contract: Contract) -> str:
    """Return the dictionary as Markdown: one table per role, one line per feature."""
    lines = [
        "# Data dictionary",
        "",
        "For whoever enters, reads or adds a feature. Afterwards you can say what each one means"
        " and which values it takes.",
        "",
        "Generated from the contract (`dbt_project/models/marts/fct_encounter_features.yml`)."
        " Do not edit:",
        "`python -m readmit.docs_site.data_dictionary > docs/data-dictionary.md`.",
        "",
        f"Label: `{contract.label.name}`. {contract.label.description}",
    ]
    features_by_title = {
        "Inputs": contract.inputs,
        "History of the patient": contract.history,
        "Derived": contract.derived,
    }
    for title, features in features_by_title.items():
        lines += [
            "",
            f"## {title}",
            "",
            "| feature | type | allowed | default | meaning |",
            "|---|---|---|---|---|",
        ]
        for feature in features:
            if feature.derive is not None:
                allowed = f"{feature.derive.op} of {', '.join(feature.derive.sources)}"
            elif feature.kind == "number":
                allowed = f"{feature.min:g} to {feature.max:g} {feature.unit or ''}".strip()
            elif feature.seed is not None:
                allowed = f"codes of `{feature.seed}`"
            else:
                allowed = ", ".join(map(str, feature.values or (False, True)))
            default = "" if feature.default is None else f"`{feature.default}`"
            name = f"`{feature.name}`"
            cells = (name, feature.data_type, allowed, default, feature.description)
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page(Contract.from_manifest()))
