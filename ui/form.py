"""The form as data: a field for each input of the served model's contract, in one language.

Fields and groups stand in the order of the contract. No Streamlit here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from readmit.client.answer_types import CalibrationBin, ModelInfo, SeedRow, Value
from readmit.contract.definition import WHOLE_NUMBERS, Feature, Kind, Role
from ui.language import Code, Language, in_words

Seeds = Callable[[str], Sequence[SeedRow]]


@dataclass(frozen=True)
class FormModel:
    """The model that a form is made for."""

    version: str
    contract_hash: str
    experiment_id: str | None
    data_source: str | None
    features: tuple[Feature, ...]
    average_risk: float | None = None


@dataclass(frozen=True)
class Field:
    """One question of the form, in one language."""

    name: str
    kind: Kind
    label: str
    help: str
    group: str
    default: Value
    feature: Feature
    options: tuple[Value, ...] = ()
    captions: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    unit: str = ""
    is_whole: bool = True

    def caption(self, value: Value) -> str:
        """Return how a value is shown."""
        if value in self.options:
            return self.captions[self.options.index(value)]
        return str(value)

    def shown(self, value: Value, language: Language) -> str:
        """Return a value of any kind of field as the page shows it."""
        if self.options:
            return self.caption(value)
        return language.value(value)


def form_model(model: ModelInfo) -> FormModel:
    """Return the model of a form; what a newer API says beyond our contract is left out."""
    documents = model["contract"]["features"]
    features = [Feature.model_validate(document, extra="ignore") for document in documents]
    return FormModel(
        version=model["version"],
        contract_hash=model["contract"]["hash"],
        experiment_id=model["experiment_id"],
        data_source=model.get("data_source"),
        features=tuple(features),
        average_risk=_average_risk(model.get("calibration", [])),
    )


def _average_risk(bins: Sequence[CalibrationBin]) -> float | None:
    """Return the share of unseen patients who returned; None for a model without that report."""
    n_patients = sum(bin["n"] for bin in bins)
    if n_patients == 0:
        return None
    return sum(bin["observed"] * bin["n"] for bin in bins) / n_patients


def fields(
    features: Sequence[Feature],
    seeds: Seeds,
    language: Language,
    roles: tuple[Role, ...] = ("input",),
) -> tuple[Field, ...]:
    """Return a field for each feature with one of the roles.

    Args:
        features: the features of the contract; none of the role `derived` becomes a field.
        seeds: gives the rows of a code table by its name.
        language: of labels, help and captions.
        roles: of the features to return.
    """
    return tuple(_field(feature, seeds, language) for feature in features if feature.role in roles)


def groups(fields: Sequence[Field]) -> dict[str, list[Field]]:
    """Return the fields of each group."""
    members: dict[str, list[Field]] = {}
    for field in fields:
        members.setdefault(field.group, []).append(field)
    return members


def labels(features: Sequence[Feature], language: Language) -> dict[str, str]:
    """Return the label of every feature, also of derived and history ones."""
    return {feature.name: _label(feature, language) for feature in features}


def _field(feature: Feature, seeds: Seeds, language: Language) -> Field:
    options = _options(feature, seeds, language)
    help_text = group = ""
    if feature.form is not None:
        help_text = _in_language(feature.form.help, language)
        group = _in_language(feature.form.group, language)
    return Field(
        name=feature.name,
        kind=feature.kind,
        label=_label(feature, language),
        help=help_text or feature.description,
        group=group,
        default=_default(feature, options),
        feature=feature,
        options=tuple(options),
        captions=tuple(options.values()),
        low=feature.min,
        high=feature.max,
        unit=language.unit(feature.unit),
        is_whole=feature.data_type in WHOLE_NUMBERS,
    )


def _label(feature: Feature, language: Language) -> str:
    texts = feature.form.label if feature.form else feature.label
    if texts is None:
        return in_words(feature.name)
    return _in_language(texts, language) or in_words(feature.name)


def _in_language(texts: str | Mapping[Code, str], language: Language) -> str:
    """Return a text that is either one string or one per language; English where there is none."""
    if isinstance(texts, str):
        return texts
    return texts.get(language.code) or texts.get("en", "")


def _options(feature: Feature, seeds: Seeds, language: Language) -> dict[Value, str]:
    """Return the legal values of a category, each with its caption."""
    if feature.values is not None:
        return {value: language.value(value) for value in feature.values}
    if feature.seed is None:
        return {}
    options: dict[Value, str] = {}
    for row in seeds(feature.seed):
        if row.get("is_excluded") == "true":  # nobody asks whether the dead will be readmitted
            continue
        code = row["code"]
        value = int(code) if feature.data_type in WHOLE_NUMBERS else code
        options[value] = _code_caption(code, row["description"], language)
    return options


def _code_caption(code: str, description: str, language: Language) -> str:
    description = description.removesuffix(f" ({code})")
    words = language.value(code)
    if words != code or description in ("", code):
        return words
    return f"{code} · {language.value(description)}"


def _default(feature: Feature, options: Mapping[Value, str]) -> Value:
    default = feature.default
    if default is None or (options and default not in options):
        return next(iter(options))
    return default
