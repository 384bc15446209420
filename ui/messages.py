"""Every text of the web form, in English and Spanish.

`Messages` is a class, not a dictionary: a key that one language lacks stops the start, and mypy sees a misspelt one.
Placeholders stand in braces; a test checks that both languages have the same ones. Texts of the features themselves
(labels, help, groups) come from the contract.
"""

from dataclasses import dataclass
from typing import Literal

Language = Literal["en", "es"]


@dataclass(frozen=True)
class Messages:
    """The texts of one language."""

    code: Language
    app_name: str
    tagline: str
    language: str
    predict: str
    batch: str
    model: str
    data: str
    links: str
    tools: str
    disclaimer: str
    predict_intro: str
    examples: str
    example_low: str
    example_medium: str
    example_high: str
    example_default: str
    example_help: str
    examples_none: str
    patient_number: str
    patient_number_help: str
    other_group: str
    button_predict: str
    working: str
    result: str
    result_empty: str
    one_in: str
    of_ten: str
    fewer_than: str
    more_than: str
    probability: str
    threshold: str
    band_low: str
    band_medium: str
    band_high: str
    above_threshold: str
    below_threshold: str
    history_given: str
    history_looked_up: str
    history_first_stay: str
    answered_by: str
    version: str
    request: str
    drivers: str
    drivers_intro: str
    drivers_usual: str
    as_table: str
    feature: str
    value: str
    effect: str
    compare: str
    compare_none: str
    compare_unmapped: str
    compare_now: str
    compare_before: str
    compare_change: str
    compare_same: str
    compare_agree: str
    compare_disagree: str
    what_if: str
    what_if_intro: str
    what_if_field: str
    choose: str
    what_if_history: str
    newer_model: str
    defaulted: str
    ignored: str
    reload_form: str
    conflict: str
    api_down: str
    api_down_hint: str
    try_again: str
    no_model: str
    no_model_hint: str
    stale_model: str
    sample_data: str
    invalid: str
    failed: str
    not_available: str
    batch_intro: str
    batch_upload: str
    upload: str
    batch_template: str
    batch_empty: str
    batch_rows: str
    batch_no_rows: str
    batch_score: str
    batch_progress: str
    batch_done: str
    batch_first: str
    batch_errors: str
    batch_download: str
    batch_unreadable: str
    batch_missing: str
    batch_too_many: str
    line: str
    model_intro: str
    metrics: str
    metrics_intro: str
    metric: str
    interval: str
    meaning: str
    from_to: str
    calibration: str
    calibration_intro: str
    predicted: str
    observed: str
    slices: str
    slices_intro: str
    learning_curve: str
    learning_intro: str
    training_rows: str
    decision_curve: str
    decision_intro: str
    net_benefit: str
    by_model: str
    for_everybody: str
    realised: str
    realised_intro: str
    too_few: str
    promotions: str
    promotions_intro: str
    model_card: str
    promoted_at: str
    trained_on: str
    contract: str
    empty: str
    data_intro: str
    ledger: str
    ledger_intro: str
    quarantine: str
    quarantine_intro: str
    quarantine_none: str
    data_age: str
    published_batches: str
    published_rows: str
    thousands: str
    quarantined_rows: str
    data_away: str
    ago_minutes: str
    ago_hours: str
    ago_days: str
    link_run: str
    link_experiments: str
    link_version: str
    link_lineage: str
    link_quality: str
    link_airflow: str
    link_grafana: str
    link_api: str


ENGLISH = Messages(
    code="en",
    app_name="Readmission risk",
    tagline="Which diabetic inpatients will be back within 30 days?",
    language="Language",
    predict="Predict",
    batch="Batch",
    model="Model",
    data="Data",
    links="Look behind the answer",
    tools="Other pages of this system",
    disclaimer="A decision aid, trained on US hospital stays of 1999-2008. It does not replace clinical judgement.",
    predict_intro="Describe the stay at discharge. Every field starts with a usual value.",
    examples="Start from an example patient",
    example_low="Low risk",
    example_medium="Medium risk",
    example_high="High risk",
    example_default="Usual values",
    example_help="Fills the form; the score is computed by the model when you press Predict.",
    examples_none="The service gives no example patients now: {detail}",
    patient_number="Patient number (optional)",
    patient_number_help="Looks up earlier stays of this patient. Without it the stay counts as the first one.",
    other_group="Other",
    button_predict="Predict",
    working="Asking the model…",
    result="Risk of readmission",
    result_empty="Press **Predict** to see the risk of readmission within 30 days.",
    one_in="About 1 in {n} such patients returns within 30 days.",
    of_ten="About {k} in 10 such patients return within 30 days.",
    fewer_than="Fewer than 1 in {n} such patients return within 30 days.",
    more_than="More than {k} in {n} such patients return within 30 days.",
    probability="Probability",
    threshold="Decision threshold",
    band_low="Low risk",
    band_medium="Medium risk",
    band_high="High risk",
    above_threshold="At or above the threshold of {threshold}: plan follow-up before discharge.",
    below_threshold="Below the threshold of {threshold}.",
    history_given="Earlier stays: as entered.",
    history_looked_up="Earlier stays: looked up by patient number.",
    history_first_stay="Earlier stays: none known, taken as a first stay.",
    answered_by="Answered by",
    version="version",
    request="Request",
    drivers="What drives this score",
    drivers_intro="How far each value moves the score (log-odds), strongest first: + raises the risk, - lowers it.",
    drivers_usual="Every field has its usual value: nothing moves the score up or down.",
    as_table="Show as a table",
    feature="Field",
    value="Value",
    effect="Effect (log-odds)",
    compare="Two versions side by side",
    compare_none="There is no earlier version to compare with.",
    compare_unmapped="Version {version} cannot answer for this stay: it was trained on other fields or values.",
    compare_now="In service",
    compare_before="Before it",
    compare_change="Since the version before, the risk of this patient moved by {points} percentage points.",
    compare_same="The risk of this patient is the same as with the version before.",
    compare_agree="Both versions put it in the same risk band.",
    compare_disagree="The versions put it in different risk bands.",
    what_if="What if…",
    what_if_intro="Change one field and see the score move; everything else stays as it is.",
    what_if_field="Field to change",
    choose="Choose",
    what_if_history="The patient's earlier stays could not be looked up just now: these scores assume a first stay.",
    newer_model="Version {version} answered; the form was made for version {form_version}.",
    defaulted="The model has changed since this form was made. Assumed with usual values: {names}.",
    ignored="The model has changed since this form was made. No longer used: {names}.",
    reload_form="Reload the form",
    conflict="The model has changed and this form no longer fits it. Reload it and enter the stay again.",
    api_down="The prediction service cannot be reached.",
    api_down_hint="The service restarts by itself: try again in a few seconds. What you entered is kept. ({address})",
    try_again="Try again",
    no_model="There is no model yet.",
    no_model_hint="The pipeline is still loading data or training. This page fills once a first model is promoted.",
    stale_model="The model registry cannot be reached: the last good model keeps answering.",
    sample_data="Sample data: the patients are generated. Do not use these answers for real ones.",
    invalid="Please correct the marked fields.",
    failed="The service answered with an error: {detail}",
    not_available="Not available for this model.",
    batch_intro="Score many stays at once. One row per stay, columns named as in the template.",
    batch_upload="CSV file, at most {mb} MB",
    upload="Choose a file",
    batch_template="Download the template",
    batch_empty="No file yet. The template holds one row with usual values.",
    batch_rows="Rows read from {name}: {n}",
    batch_no_rows="The file has a header and no rows.",
    batch_score="Score all rows",
    batch_progress="{done} of {n} rows",
    batch_done="Rows scored: {n}. With errors: {bad}.",
    batch_first="The first {n} rows; the download has all of them.",
    batch_errors="Lines with errors",
    batch_download="Download the scored CSV",
    batch_unreadable="This file cannot be read as CSV: {detail}",
    batch_missing="Missing columns: {names}. Add them: missing values are not made up.",
    batch_too_many="Too many rows for one upload: {n}. The limit is {limit}: split the file.",
    line="Line",
    model_intro="Which model is in service, how good it is, and how it got there.",
    metrics="Metrics",
    metrics_intro="On patients that the model has not seen, with 95 % intervals.",
    metric="Metric",
    interval="95 % interval",
    meaning="What the metrics say",
    from_to="{low} to {high}",
    calibration="Calibration",
    calibration_intro="Of the patients given a risk of 20 %, do 20 % return? A point on the line says yes.",
    predicted="Predicted risk",
    observed="Observed share",
    slices="By group of patients",
    slices_intro="Ranking (AUROC) within each group; wide intervals mean few patients. Dotted: all patients.",
    learning_curve="Learning curve",
    learning_intro="How the ranking on unseen patients improves with more training rows.",
    training_rows="Training rows",
    decision_curve="Decision curve",
    decision_intro="Net benefit of acting on the model at each threshold; dotted: the threshold in use.",
    net_benefit="Net benefit",
    by_model="by the model",
    for_everybody="for everybody",
    realised="How good it turned out to be",
    realised_intro="Logged predictions against outcomes that came later, by version, with 95 % intervals.",
    too_few="too few outcomes",
    promotions="Decisions",
    promotions_intro="Every decision to put a version into service, keep the old one or roll back, with its evidence.",
    model_card="Model card",
    promoted_at="In service since",
    trained_on="Trained on",
    contract="Contract",
    empty="Nothing here yet.",
    data_intro="Where the numbers come from: every batch, and every row that was held back.",
    ledger="Batches",
    ledger_intro="The ledger: what arrived, what was published, what was refused and why.",
    quarantine="Quarantine",
    quarantine_intro="Rows that broke a rule: kept, not used, released once corrected. At most 500 are shown.",
    quarantine_none="No row is in quarantine.",
    data_age="Latest publication",
    published_batches="Batches published",
    published_rows="Rows published",
    thousands=",",
    quarantined_rows="Rows in quarantine",
    data_away="This part cannot be shown: {detail}. Predictions still work.",
    ago_minutes="{n} min ago",
    ago_hours="{n} h ago",
    ago_days="{n} days ago",
    link_run="Training run",
    link_experiments="Experiments",
    link_version="Model version",
    link_lineage="Lineage of the data",
    link_quality="Data quality",
    link_airflow="Pipeline",
    link_grafana="Monitoring",
    link_api="API",
)

SPANISH = Messages(
    code="es",
    app_name="Riesgo de reingreso",
    tagline="¿Qué pacientes ingresados con diabetes volverán al hospital antes de 30 días?",
    language="Idioma",
    predict="Predecir",
    batch="Por lotes",
    model="Modelo",
    data="Datos",
    links="Detrás de la respuesta",
    tools="Otras páginas de este sistema",
    disclaimer="Ayuda a la decisión, entrenada con ingresos de EE. UU. de 1999-2008. No sustituye el juicio clínico.",
    predict_intro="Describa el ingreso en el momento del alta. Cada campo empieza con un valor habitual.",
    examples="Empezar con un paciente de ejemplo",
    example_low="Riesgo bajo",
    example_medium="Riesgo medio",
    example_high="Riesgo alto",
    example_default="Valores habituales",
    example_help="Rellena el formulario; el modelo calcula el riesgo al pulsar Calcular riesgo.",
    examples_none="El servicio no ofrece ahora pacientes de ejemplo: {detail}",
    patient_number="Número de paciente (opcional)",
    patient_number_help="Busca ingresos anteriores del paciente. Sin él, cuenta como primer ingreso.",
    other_group="Otros",
    button_predict="Calcular riesgo",
    working="Consultando el modelo…",
    result="Riesgo de reingreso",
    result_empty="Pulse **Calcular riesgo** para ver el riesgo de reingreso antes de 30 días.",
    one_in="Alrededor de 1 de cada {n} pacientes así reingresa antes de 30 días.",
    of_ten="Alrededor de {k} de cada 10 pacientes así reingresan antes de 30 días.",
    fewer_than="Menos de 1 de cada {n} pacientes así reingresa antes de 30 días.",
    more_than="Más de {k} de cada {n} pacientes así reingresan antes de 30 días.",
    probability="Probabilidad",
    threshold="Umbral de decisión",
    band_low="Riesgo bajo",
    band_medium="Riesgo medio",
    band_high="Riesgo alto",
    above_threshold="En el umbral de {threshold} o por encima: planifique el seguimiento antes del alta.",
    below_threshold="Por debajo del umbral de {threshold}.",
    history_given="Ingresos anteriores: los indicados.",
    history_looked_up="Ingresos anteriores: consultados por número de paciente.",
    history_first_stay="Ingresos anteriores: no se conocen; se toma como primer ingreso.",
    answered_by="Respondido por",
    version="versión",
    request="Solicitud",
    drivers="Qué influye en este resultado",
    drivers_intro="Cuánto mueve cada valor el resultado (log-odds), de mayor a menor: + sube el riesgo, - lo baja.",
    drivers_usual="Cada campo tiene su valor habitual: nada sube ni baja el riesgo.",
    as_table="Mostrar como tabla",
    feature="Campo",
    value="Valor",
    effect="Efecto (log-odds)",
    compare="Dos versiones lado a lado",
    compare_none="No hay una versión anterior con la que comparar.",
    compare_unmapped="La versión {version} no puede responder para este ingreso: usa otros campos o valores.",
    compare_now="En servicio",
    compare_before="Anterior",
    compare_change="Respecto a la versión anterior, el riesgo de este paciente cambió {points} puntos porcentuales.",
    compare_same="El riesgo de este paciente es el mismo que con la versión anterior.",
    compare_agree="Ambas versiones lo sitúan en el mismo nivel de riesgo.",
    compare_disagree="Las versiones lo sitúan en niveles de riesgo distintos.",
    what_if="¿Y si…?",
    what_if_intro="Cambie un campo y vea cómo varía el riesgo; lo demás queda igual.",
    what_if_field="Campo que cambia",
    choose="Elija",
    what_if_history="No se pudieron consultar los ingresos anteriores: estos valores suponen un primer ingreso.",
    newer_model="Respondió la versión {version}; el formulario es de la versión {form_version}.",
    defaulted="El modelo ha cambiado desde que se abrió el formulario. Se suponen valores habituales en: {names}.",
    ignored="El modelo ha cambiado desde que se abrió el formulario. Ya no se usan: {names}.",
    reload_form="Recargar el formulario",
    conflict="El modelo ha cambiado y este formulario ya no sirve. Recárguelo y vuelva a introducir el ingreso.",
    api_down="No se puede contactar con el servicio de predicción.",
    api_down_hint="El servicio se reinicia solo: pruebe en unos segundos. Se conserva lo escrito. ({address})",
    try_again="Reintentar",
    no_model="Todavía no hay modelo.",
    no_model_hint="El proceso aún carga datos o entrena. Esta página se llenará con el primer modelo en servicio.",
    stale_model="El registro de modelos no responde: sigue contestando el último modelo válido.",
    sample_data="Datos de muestra: los pacientes son ficticios. No use estas respuestas con pacientes reales.",
    invalid="Corrija los campos marcados.",
    failed="El servicio respondió con un error: {detail}",
    not_available="No disponible para este modelo.",
    batch_intro="Calcule el riesgo de muchos ingresos a la vez. Una fila por ingreso, columnas como en la plantilla.",
    batch_upload="Archivo CSV, {mb} MB como máximo",
    upload="Elegir archivo",
    batch_template="Descargar la plantilla",
    batch_empty="Aún no hay archivo. La plantilla trae una fila con valores habituales.",
    batch_rows="Filas leídas de {name}: {n}",
    batch_no_rows="El archivo tiene cabecera y ninguna fila.",
    batch_score="Calcular todas las filas",
    batch_progress="{done} de {n} filas",
    batch_done="Filas calculadas: {n}. Con errores: {bad}.",
    batch_first="Las primeras {n} filas; la descarga las contiene todas.",
    batch_errors="Líneas con errores",
    batch_download="Descargar el CSV calculado",
    batch_unreadable="El archivo no se puede leer como CSV: {detail}",
    batch_missing="Faltan columnas: {names}. Añádalas: los valores que faltan no se inventan.",
    batch_too_many="Demasiadas filas para una carga: {n}. El límite es {limit}: divida el archivo.",
    line="Línea",
    model_intro="Qué modelo está en servicio, qué calidad tiene y cómo llegó ahí.",
    metrics="Métricas",
    metrics_intro="Con pacientes que el modelo no ha visto, con intervalos del 95 %.",
    metric="Métrica",
    interval="Intervalo del 95 %",
    meaning="Qué indica cada métrica",
    from_to="de {low} a {high}",
    calibration="Calibración",
    calibration_intro="De los pacientes con un riesgo del 20 %, ¿vuelve el 20 %? Si el punto está sobre la línea, sí.",
    predicted="Riesgo previsto",
    observed="Proporción observada",
    slices="Por grupo de pacientes",
    slices_intro="Ordenación (AUROC) en cada grupo; un intervalo ancho indica pocos pacientes. Línea de puntos: todos.",
    learning_curve="Curva de aprendizaje",
    learning_intro="Cómo mejora la ordenación de pacientes no vistos con más filas de entrenamiento.",
    training_rows="Filas de entrenamiento",
    decision_curve="Curva de decisión",
    decision_intro="Beneficio neto de actuar según el modelo en cada umbral; línea de puntos: el umbral en uso.",
    net_benefit="Beneficio neto",
    by_model="según el modelo",
    for_everybody="actuando con todos",
    realised="Calidad comprobada después",
    realised_intro="Predicciones registradas frente a desenlaces posteriores, por versión, con intervalos del 95 %.",
    too_few="faltan desenlaces",
    promotions="Historial de decisiones",
    promotions_intro="Cada decisión de poner en servicio una versión, mantenerla o volver atrás, con sus datos.",
    model_card="Ficha del modelo",
    promoted_at="En servicio desde",
    trained_on="Entrenado con",
    contract="Contrato",
    empty="Aún no hay nada aquí.",
    data_intro="De dónde salen los números: cada lote y cada fila retenida.",
    ledger="Lotes",
    ledger_intro="El registro: qué llegó, qué se publicó, qué se rechazó y por qué.",
    quarantine="Cuarentena",
    quarantine_intro="Filas que incumplen una regla: se guardan hasta corregirlas, sin usarse. Se muestran hasta 500.",
    quarantine_none="Ninguna fila está en cuarentena.",
    data_age="Última publicación",
    published_batches="Lotes publicados",
    published_rows="Filas publicadas",
    thousands="\N{NO-BREAK SPACE}",
    quarantined_rows="Filas en cuarentena",
    data_away="Esta parte no se puede mostrar: {detail}. Las predicciones siguen funcionando.",
    ago_minutes="hace {n} min",
    ago_hours="hace {n} h",
    ago_days="hace {n} días",
    link_run="Entrenamiento",
    link_experiments="Experimentos",
    link_version="Versión del modelo",
    link_lineage="Origen de los datos",
    link_quality="Calidad de los datos",
    link_airflow="Flujo de datos",
    link_grafana="Monitorización",
    link_api="API",
)

LANGUAGES: dict[Language, tuple[str, Messages]] = {
    "en": ("English", ENGLISH),
    "es": ("Español", SPANISH),
}
