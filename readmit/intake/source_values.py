"""The values that the columns of the source hold: what the raw gate and the profile expect."""

DOMAINS: dict[str, tuple[str, ...]] = {
    "gender": ("Female", "Male", "Unknown/Invalid"),
    "age": tuple(f"[{low}-{low + 10})" for low in range(0, 100, 10)),
    "max_glu_serum": ("None", "Norm", ">200", ">300"),
    "a1cresult": ("None", "Norm", ">7", ">8"),
    "change": ("No", "Ch"),
    "diabetesmed": ("No", "Yes"),
    "readmitted": ("NO", "<30", ">30"),
}
NUMBERS = (
    "encounter_id",
    "patient_nbr",
    "admission_type_id",
    "discharge_disposition_id",
    "admission_source_id",
    "time_in_hospital",
    "num_lab_procedures",
    "num_procedures",
    "num_medications",
    "number_outpatient",
    "number_emergency",
    "number_inpatient",
    "number_diagnoses",
)
DIAGNOSES = ("diag_1", "diag_2", "diag_3")
DOSES = ("No", "Steady", "Up", "Down")
