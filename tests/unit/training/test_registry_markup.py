"""The model card on MLflow's page: its tables are readable there, and nothing else changes."""

from training import registry_markup
from training.registry_markup import EM_SPACE, LAST_SPACE

CARD = """# Model card: lightgbm

Text with a | in it.

| slice | value | |
|---|---|---|
| race | AfricanAmerican |  |
| age | [70-80) | falls behind |

## Limits
"""


def test_each_title_is_as_wide_as_the_widest_cell_below_it():
    header = registry_markup.with_spaced_tables(CARD).splitlines()[4]
    slice_title, value_title, last_title = header.strip("| ").split(" | ")
    assert slice_title == f"slice{LAST_SPACE}"
    assert value_title == f"value{6 * EM_SPACE}{LAST_SPACE}"
    assert last_title == f"{7 * EM_SPACE}{LAST_SPACE}"


def test_only_titles_and_the_line_after_a_table_are_new():
    before = CARD.splitlines()
    after = registry_markup.with_spaced_tables(CARD).splitlines()
    assert after[:4] == before[:4]
    assert after[5:8] == before[5:8]
    assert after[8:] == ["", "&nbsp;", *before[8:]]


def test_a_card_without_tables_stays_as_it_is():
    assert registry_markup.with_spaced_tables("# Title\n\nText\n") == "# Title\n\nText\n"
