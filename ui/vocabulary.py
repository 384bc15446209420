"""Plain names for what the API calls by identifiers: metrics, columns of tables, and their values.

Names of features are not here: they come from the contract.
"""

import re

from ui.messages import Language

INTERVAL = re.compile(r"\[(\d+)-(\d+)\)")
GLUED = re.compile(r"(?<=[a-z])(and|within)(?=[A-Z])")  # `AllergyandImmunology`, as the file has it
CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")

METRICS: dict[Language, dict[str, tuple[str, str]]] = {
    "en": {
        "auroc": (
            "Ranking (AUROC)",
            "How often a patient who returned had been given more risk than one who did not; 0.5 is chance.",
        ),
        "average_precision": (
            "Precision over all thresholds (AP)",
            "Share of true alerts, averaged over thresholds; chance is the share of patients who return.",
        ),
        "brier": ("Squared error (Brier)", "Between risk and outcome; lower is better."),
        "brier_skill": ("Error saved (Brier skill)", "Against giving everybody the average risk; 0 is no gain."),
        "ece": ("Calibration error (ECE)", "How far risks lie from what happened, on average; 0 is perfect."),
        "lift_top5": ("Lift in the top 5 %", "How many times as many return among the 5 % of highest risk."),
        "log_loss": ("Log loss", "Punishes being sure and wrong; lower is better."),
        "observed_rate": ("Returned", "Share of patients who returned within 30 days."),
        "predicted_rate": ("Risk given", "The risk that they were given, on average."),
        "observed_minus_predicted": ("Returned minus risk given", "0 when the risk is right on average."),
    },
    "es": {
        "auroc": (
            "Ordenación (AUROC)",
            "Con qué frecuencia quien reingresó tenía más riesgo asignado que quien no; 0.5 es el azar.",
        ),
        "average_precision": (
            "Precisión en todos los umbrales (AP)",
            "Proporción de avisos acertados, media de los umbrales; el azar es la proporción que reingresa.",
        ),
        "brier": ("Error cuadrático (Brier)", "Entre el riesgo y lo ocurrido; cuanto menor, mejor."),
        "brier_skill": ("Error evitado (Brier)", "Frente a dar a todos el riesgo medio; 0 es ninguna mejora."),
        "ece": ("Error de calibración (ECE)", "Cuánto se aparta el riesgo de lo ocurrido; 0 es perfecto."),
        "lift_top5": ("Concentración en el 5 %", "Cuántas veces más reingresan en el 5 % de mayor riesgo."),
        "log_loss": ("Pérdida logarítmica", "Penaliza la seguridad equivocada; cuanto menor, mejor."),
        "observed_rate": ("Reingresaron", "Proporción de pacientes que reingresó antes de 30 días."),
        "predicted_rate": ("Riesgo asignado", "El riesgo que se les asignó, en promedio."),
        "observed_minus_predicted": ("Reingresos menos riesgo", "0 cuando el riesgo acierta en promedio."),
    },
}

COLUMNS: dict[Language, dict[str, str]] = {
    "en": {
        "slice": "Group",
        "value": "Value",
        "n": "Stays",
        "observed": "Returned",
        "predicted": "Risk given",
        "falls_behind": "Below average",
        "version": "Version",
        "n_labels": "Known outcomes",
        "n_readmitted": "Returned",
        "decided_at": "Decided (UTC)",
        "decision": "Decision",
        "challenger_version": "New version",
        "production_version": "In service",
        "metric": "Judged by",
        "challenger_score": "New version's score",
        "production_score": "Score in service",
        "gain": "Gain",
        "gain_low": "Gain, at least",
        "gain_high": "Gain, at most",
        "actor": "Decided by",
        "reason": "Reason",
        "batch_id": "Batch",
        "status": "Status",
        "split": "Used for",
        "n_rows": "Rows",
        "n_quarantined": "In quarantine",
        "n_excluded": "Left out",
        "published_at": "Published (UTC)",
        "data_source": "Source",
        "_batch_id": "Batch",
        "_source_row": "Row of the file",
        "encounter_id": "Stay",
        "patient_nbr": "Patient",
        "raw_values": "As received",
        "released_at": "Released (UTC)",
        "released_by": "Released by",
        "corrected": "Corrected values",
        "probability": "Probability",
        "risk": "Risk",
        "history": "Earlier stays",
        "model_version": "Version",
        "error": "Problem",
    },
    "es": {
        "slice": "Grupo",
        "value": "Valor",
        "n": "Ingresos",
        "observed": "Reingresaron",
        "predicted": "Riesgo asignado",
        "falls_behind": "Por debajo de la media",
        "version": "Versión",
        "n_labels": "Desenlaces conocidos",
        "n_readmitted": "Reingresaron",
        "decided_at": "Decidido (UTC)",
        "decision": "Decisión",
        "challenger_version": "Versión nueva",
        "production_version": "En servicio",
        "metric": "Criterio",
        "challenger_score": "Valor de la nueva",
        "production_score": "Valor en servicio",
        "gain": "Mejora",
        "gain_low": "Mejora mínima",
        "gain_high": "Mejora máxima",
        "actor": "Decidido por",
        "reason": "Motivo",
        "batch_id": "Lote",
        "status": "Estado",
        "split": "Uso",
        "n_rows": "Filas",
        "n_quarantined": "En cuarentena",
        "n_excluded": "Excluidas",
        "published_at": "Publicado (UTC)",
        "data_source": "Fuente",
        "_batch_id": "Lote",
        "_source_row": "Fila del archivo",
        "encounter_id": "Ingreso",
        "patient_nbr": "Paciente",
        "raw_values": "Tal como llegó",
        "released_at": "Liberada (UTC)",
        "released_by": "Liberada por",
        "corrected": "Valores corregidos",
        "probability": "Probabilidad",
        "risk": "Riesgo",
        "history": "Ingresos anteriores",
        "model_version": "Versión",
        "error": "Problema",
    },
}

VALUES: dict[Language, dict[str, str]] = {
    "en": {
        "unknown": "Unknown",
        "No": "Not prescribed",
        "Steady": "Steady dose",
        "Up": "Dose up",
        "Down": "Dose down",
        "None": "Not measured",
        "Norm": "Normal",
        "True": "Yes",
        "False": "No",
        "race": "Race",
        "gender": "Gender",
        "age": "Age",
        "stay": "Stay",
        "first": "First stay",
        "repeat": "Returning patient",
        "uci": "UCI data set",
        "file": "own file",
        "url": "download",
        "sample": "made-up sample",
        "published": "published",
        "loaded": "being checked",
        "rejected": "rejected",
        "refused": "refused",
        "superseded": "replaced",
        "train": "training",
        "validation": "validation",
        "test": "test",
        "none": "-",
        "promote": "put into service",
        "keep": "kept as it was",
        "rollback": "rolled back",
        "given": "as sent",
        "looked_up": "looked up",
        "assumed_first_stay": "none known",
    },
    "es": {
        "unknown": "Desconocido",
        "No": "No recetado",
        "Steady": "Dosis estable",
        "Up": "Dosis aumentada",
        "Down": "Dosis reducida",
        "None": "No medido",
        "Norm": "Normal",
        "True": "Sí",
        "False": "No",
        "Female": "Mujer",
        "Male": "Hombre",
        "AfricanAmerican": "Afroamericana",
        "Asian": "Asiática",
        "Caucasian": "Blanca",
        "Hispanic": "Hispana",
        "Other": "Otra",
        "race": "Raza",
        "gender": "Sexo",
        "age": "Edad",
        "stay": "Ingreso",
        "first": "Primer ingreso",
        "repeat": "Con ingresos anteriores",
        "uci": "datos de UCI",
        "file": "archivo propio",
        "url": "descarga",
        "sample": "muestra ficticia",
        "published": "publicado",
        "loaded": "en revisión",
        "rejected": "rechazado",
        "refused": "no admitido",
        "superseded": "sustituido",
        "train": "entrenamiento",
        "validation": "validación",
        "test": "prueba",
        "none": "-",
        "promote": "puesta en servicio",
        "keep": "sin cambio",
        "rollback": "vuelta a la anterior",
        "given": "los indicados",
        "looked_up": "consultados",
        "assumed_first_stay": "no se conocen",
    },
}

# A unit that measures stands behind the label; one that counts ("visits") would only repeat the label.
UNITS: dict[Language, dict[str, str]] = {"en": {"days": "days"}, "es": {"days": "días"}}


def metric(name: str, language: Language) -> str:
    """Return the name of a metric; an unknown one in words."""
    return METRICS[language].get(name, (in_words(name), ""))[0]


def meaning(name: str, language: Language) -> str:
    """Return what a metric says, in a sentence; empty for an unknown one."""
    return METRICS[language].get(name, ("", ""))[1]


def column(name: str, language: Language) -> str:
    """Return the heading of a column; an unknown one in words."""
    return COLUMNS[language].get(name) or metric(name, language)


def value(raw: object, language: Language) -> str:
    """Return how a value is shown: `[70-80)` as whole numbers from 70 to 79, glued words apart."""
    text = str(raw)
    if text in VALUES[language]:
        return VALUES[language][text]
    if found := INTERVAL.fullmatch(text):
        return f"{found[1]}-{int(found[2]) - 1}"
    return CAMEL.sub(" ", GLUED.sub(r" \1 ", text))


def in_words(name: str) -> str:
    """Return an identifier as words."""
    return name.strip("_").replace("_", " ").capitalize()
