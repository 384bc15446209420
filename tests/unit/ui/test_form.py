"""From the contract to the fields of the form."""

from tests.support.form import FEATURES, features, fields
from ui import form, language


def test_the_form_asks_for_inputs_only_in_the_order_of_the_contract():
    names = [field.name for field in fields()]
    assert names == ["age_band", "admission_type_id", "n_procedures", "is_changed"]


def test_fields_follow_the_language_and_fall_back_to_english():
    age, admission, *_ = fields("es")
    assert (age.label, age.group, age.caption("unknown")) == ("Edad", "Paciente", "Desconocido")
    assert admission.label == "Admission"


def test_seed_codes_get_the_type_of_the_contract_and_their_description():
    admission = fields()[1]
    assert admission.options == (1, 2)
    assert admission.caption(2) == "2 · Urgent"
    assert fields("es")[1].caption(2) == "2 · Urgente"
    assert admission.default == 2


def test_fields_stand_in_groups():
    assert list(form.groups(fields())) == ["Patient", "Stay", "Drugs"]
    assert [field.name for field in form.groups(fields())["Stay"]] == [
        "admission_type_id",
        "n_procedures",
    ]


def test_a_field_without_help_shows_the_description_of_its_feature():
    assert [field.help for field in fields()] == [
        "In years", "How the patient came", "Procedures", "Whether a dose changed"
    ]  # fmt: skip


def test_a_feature_without_a_label_is_named_in_words():
    assert form.labels(features(), language.load("es"))["n_prior_stays"] == "N prior stays"


def test_unknown_properties_of_a_feature_are_left_out():
    document = {**FEATURES[0], "colour": "green"}
    answer = {
        "name": "m",
        "version": "2",
        "experiment_id": None,
        "contract": {"hash": "abc", "features": [document]},
    }
    model = form.form_model(answer)
    assert (model.version, model.contract_hash, model.data_source) == ("2", "abc", None)
    assert model.features == (features()[0],)
