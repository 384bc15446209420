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
    history_title: str
    answered_by: str
    version: str
    request: str
    drivers: str
    drivers_intro: str
    drivers_usual: str
    drivers_raises: str
    drivers_lowers: str
    drivers_none: str
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
    what_if_now: str
    newer_model: str
    mapped_contract: str
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
    batch_template: str
    batch_empty: str
    batch_rows: str
    batch_score: str
    batch_progress: str
    batch_done: str
    batch_errors: str
    batch_download: str
    batch_unreadable: str
    batch_missing: str
    batch_too_many: str
    row: str
    problem: str
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
    ideal: str
    slices: str
    slices_intro: str
    all_patients: str
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
    history_title="History",
    answered_by="Answered by",
    version="version",
    request="Request",
    drivers="What drives this score",
    drivers_intro="How much each value moves the score of this patient, strongest first.",
    drivers_usual="Every field has its usual value: nothing moves the score up or down.",
    drivers_raises="raises the risk",
    drivers_lowers="lowers the risk",
    drivers_none="The served model gives no explanation for this score.",
    as_table="Show as a table",
    feature="Field",
    value="Value",
    effect="Effect on the score",
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
    what_if_now="as entered",
    newer_model="Version {version} answered; the form was made for version {form_version}.",
    mapped_contract="The form and the model differ: {detail}",
    reload_form="Reload the form",
    conflict="The model has changed and this form no longer fits it. Your entries could not be used.",
    api_down="The prediction service cannot be reached.",
    api_down_hint="Nothing you entered is lost. It is restarted automatically; try again in a few seconds. ({address})",
    try_again="Try again",
    no_model="There is no model yet.",
    no_model_hint="The pipeline is still loading data or training. This page fills once a first model is promoted.",
    stale_model="The registry cannot be reached: the last good model keeps answering.",
    sample_data="Sample data: the patients are generated. Do not use these answers for real ones.",
    invalid="Please correct the marked fields.",
    failed="The service answered with an error: {detail}",
    not_available="Not available for this model.",
    batch_intro="Score many stays at once. One row per stay, columns named as in the template.",
    batch_upload="CSV file",
    batch_template="Download the template",
    batch_empty="No file yet. The template holds one row with usual values.",
    batch_rows="{n} rows read from {name}",
    batch_score="Score {n} rows",
    batch_progress="{done} of {n} rows",
    batch_done="{n} rows scored, {bad} with errors.",
    batch_errors="Rows with errors",
    batch_download="Download the scored CSV",
    batch_unreadable="This file cannot be read as CSV: {detail}",
    batch_missing="Columns that are missing: {names}. Their usual values are not assumed.",
    batch_too_many="{n} rows are too many for one upload; the limit is {limit}. Split the file.",
    row="Row",
    problem="Problem",
    model_intro="What is serving now, how good it is, and how it got here.",
    metrics="Metrics",
    metrics_intro="On patients the model has not seen; with 95 % intervals.",
    metric="Metric",
    interval="95 % interval",
    meaning="What the metrics say",
    from_to="{low} to {high}",
    calibration="Calibration",
    calibration_intro="Of the patients given a risk of 20 %, do 20 % return? A point on the line says yes.",
    predicted="Predicted risk",
    observed="Observed share",
    ideal="Perfect",
    slices="By group of patients",
    slices_intro="Ranking (AUROC) within each group; wide intervals mean few patients. Dotted: all patients.",
    all_patients="All patients",
    learning_curve="Learning curve",
    learning_intro="What more data brings.",
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
    quarantine_intro="Rows that broke a rule. They are kept, not used, and can be released once corrected.",
    quarantine_none="No row is in quarantine.",
    data_age="Latest publication",
    published_batches="Batches published",
    published_rows="Rows published",
    thousands=",",
    quarantined_rows="Rows in quarantine",
    data_away="The database is away, so the ledger cannot be shown. Predictions still work. ({detail})",
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
    tagline="¿Qué pacientes con diabetes volverán al hospital antes de 30 días?",
    language="Idioma",
    predict="Predecir",
    batch="Por lotes",
    model="Modelo",
    data="Datos",
    links="Detrás de la respuesta",
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
    result="Probabilidad de reingreso",
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
    history_title="Antecedentes",
    answered_by="Respondido por",
    version="versión",
    request="Solicitud",
    drivers="Qué influye en este resultado",
    drivers_intro="Cuánto mueve cada valor el riesgo de este paciente, de mayor a menor.",
    drivers_usual="Cada campo tiene su valor habitual: nada sube ni baja el riesgo.",
    drivers_raises="aumenta el riesgo",
    drivers_lowers="reduce el riesgo",
    drivers_none="El modelo en servicio no explica este resultado.",
    as_table="Mostrar como tabla",
    feature="Campo",
    value="Valor",
    effect="Efecto en el resultado",
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
    what_if_now="tal como se indicó",
    newer_model="Respondió la versión {version}; el formulario es de la versión {form_version}.",
    mapped_contract="El formulario y el modelo difieren: {detail}",
    reload_form="Recargar el formulario",
    conflict="El modelo ha cambiado y este formulario ya no sirve. No se pudieron usar los datos introducidos.",
    api_down="No se puede contactar con el servicio de predicción.",
    api_down_hint="No se pierde lo escrito. El servicio se reinicia solo; pruebe en unos segundos. ({address})",
    try_again="Reintentar",
    no_model="Todavía no hay modelo.",
    no_model_hint="El proceso aún carga datos o entrena. Esta página se llenará con el primer modelo en servicio.",
    stale_model="El registro de modelos no responde: sigue contestando el último modelo válido.",
    sample_data="Datos de muestra: los pacientes son ficticios. No use estas respuestas con pacientes reales.",
    invalid="Corrija los campos marcados.",
    failed="El servicio respondió con un error: {detail}",
    not_available="No disponible para este modelo.",
    batch_intro="Calcule el riesgo de muchos ingresos a la vez. Una fila por ingreso, columnas como en la plantilla.",
    batch_upload="Archivo CSV",
    batch_template="Descargar la plantilla",
    batch_empty="Aún no hay archivo. La plantilla trae una fila con valores habituales.",
    batch_rows="{n} filas leídas de {name}",
    batch_score="Calcular {n} filas",
    batch_progress="{done} de {n} filas",
    batch_done="{n} filas calculadas, {bad} con errores.",
    batch_errors="Filas con errores",
    batch_download="Descargar el CSV calculado",
    batch_unreadable="El archivo no se puede leer como CSV: {detail}",
    batch_missing="Faltan columnas: {names}. No se suponen sus valores habituales.",
    batch_too_many="{n} filas son demasiadas para una carga; el límite es {limit}. Divida el archivo.",
    row="Fila",
    problem="Problema",
    model_intro="Qué está en servicio, lo bueno que es y cómo ha llegado aquí.",
    metrics="Métricas",
    metrics_intro="Con pacientes que el modelo no ha visto; con intervalos del 95 %.",
    metric="Métrica",
    interval="Intervalo del 95 %",
    meaning="Qué indica cada métrica",
    from_to="de {low} a {high}",
    calibration="Calibración",
    calibration_intro="De los pacientes con un riesgo del 20 %, ¿vuelve el 20 %? Si el punto está sobre la línea, sí.",
    predicted="Riesgo previsto",
    observed="Proporción observada",
    ideal="Perfecto",
    slices="Por grupo de pacientes",
    slices_intro="Ordenación (AUROC) en cada grupo; un intervalo ancho indica pocos pacientes. Línea de puntos: todos.",
    all_patients="Todos los pacientes",
    learning_curve="Curva de aprendizaje",
    learning_intro="Qué se gana con más datos.",
    training_rows="Filas de entrenamiento",
    decision_curve="Curva de decisión",
    decision_intro="Beneficio neto de actuar según el modelo en cada umbral; línea de puntos: el umbral en uso.",
    net_benefit="Beneficio neto",
    by_model="según el modelo",
    for_everybody="actuando con todos",
    realised="Lo bueno que resultó ser",
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
    quarantine_intro="Filas que incumplen una regla. Se guardan sin usarse y pueden liberarse corregidas.",
    quarantine_none="Ninguna fila está en cuarentena.",
    data_age="Última publicación",
    published_batches="Lotes publicados",
    published_rows="Filas publicadas",
    thousands="\N{NO-BREAK SPACE}",
    quarantined_rows="Filas en cuarentena",
    data_away="La base de datos no responde: no se puede mostrar el registro. Las predicciones siguen. ({detail})",
    ago_minutes="hace {n} min",
    ago_hours="hace {n} h",
    ago_days="hace {n} días",
    link_run="Entrenamiento",
    link_experiments="Experimentos",
    link_version="Versión del modelo",
    link_lineage="Origen de los datos",
    link_quality="Calidad de los datos",
    link_airflow="Proceso",
    link_grafana="Monitorización",
    link_api="API",
)

LANGUAGES: dict[Language, tuple[str, Messages]] = {"en": ("English", ENGLISH), "es": ("Español", SPANISH)}
