"""The contract of a small form, as `GET /model` answers it."""

from readmit.contract.definition import Feature
from ui import form, language

SEEDS = {
    "admission_types": [
        {"code": "1", "description": "Emergency"},
        {"code": "2", "description": "Urgent"},
        {"code": "3", "description": "Expired", "is_excluded": "true"},
    ]
}
TEXTS = {"en": "", "es": ""}
FEATURES = [
    {
        "name": "age_band",
        "role": "input",
        "kind": "category",
        "data_type": "text",
        "description": "Age",
        "values": ["[0-10)", "[70-80)", "unknown"],
        "default": "[70-80)",
        "form": {
            "group": {"en": "Patient", "es": "Paciente"},
            "label": {"en": "Age", "es": "Edad"},
            "help": {"en": "In years", "es": "En años"},
        },
    },
    {
        "name": "admission_type_id",
        "role": "input",
        "kind": "category",
        "data_type": "integer",
        "description": "How the patient came",
        "seed": "admission_types",
        "default": 2,
        "form": {"group": "Stay", "label": {"en": "Admission"}, "help": TEXTS},
    },
    {
        "name": "n_procedures",
        "role": "input",
        "kind": "number",
        "data_type": "integer",
        "description": "Procedures",
        "min": 0,
        "max": 6,
        "default": 1,
        "form": {"group": "Stay", "label": {"en": "Procedures"}, "help": TEXTS},
    },
    {
        "name": "is_changed",
        "role": "input",
        "kind": "flag",
        "data_type": "boolean",
        "description": "Whether a dose changed",
        "default": False,
        "form": {"group": "Drugs", "label": {"en": "Dose changed"}, "help": TEXTS},
    },
    {
        "name": "n_prior_stays",
        "role": "history",
        "kind": "number",
        "data_type": "integer",
        "description": "Earlier stays",
        "min": 0,
        "max": 50,
        "default": 0,
    },
]


def features():
    return [Feature.model_validate(document) for document in FEATURES]


def fields(code="en"):
    return form.fields(features(), SEEDS.__getitem__, language.load(code))
