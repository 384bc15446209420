"""The layout of the source file: columns in order, their names in Postgres, and limits of size."""

COLUMNS: tuple[str, ...] = (
    "encounter_id",
    "patient_nbr",
    "race",
    "gender",
    "age",
    "weight",
    "admission_type_id",
    "discharge_disposition_id",
    "admission_source_id",
    "time_in_hospital",
    "payer_code",
    "medical_specialty",
    "num_lab_procedures",
    "num_procedures",
    "num_medications",
    "number_outpatient",
    "number_emergency",
    "number_inpatient",
    "diag_1",
    "diag_2",
    "diag_3",
    "number_diagnoses",
    "max_glu_serum",
    "A1Cresult",
    "metformin",
    "repaglinide",
    "nateglinide",
    "chlorpropamide",
    "glimepiride",
    "acetohexamide",
    "glipizide",
    "glyburide",
    "tolbutamide",
    "pioglitazone",
    "rosiglitazone",
    "acarbose",
    "miglitol",
    "troglitazone",
    "tolazamide",
    "examide",
    "citoglipton",
    "insulin",
    "glyburide-metformin",
    "glipizide-metformin",
    "glimepiride-pioglitazone",
    "metformin-rosiglitazone",
    "metformin-pioglitazone",
    "change",
    "diabetesMed",
    "readmitted",
)
LANDING_COLUMNS: tuple[str, ...] = tuple(column.lower().replace("-", "_") for column in COLUMNS)
DRUGS: tuple[str, ...] = COLUMNS[COLUMNS.index("metformin") : COLUMNS.index("change")]

# The longest value of the real file has 36 bytes; 256 leaves room and stops a quote that never
# closes, or a pasted document.
MAX_FIELD_BYTES = 256
# No row that may be loaded is longer, not even if every value is quoted and made of quotes.
MAX_LINE_BYTES = (2 * MAX_FIELD_BYTES + 3) * len(COLUMNS) + 2
