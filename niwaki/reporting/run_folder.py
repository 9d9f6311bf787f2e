"""Reading the folder that a run left: nothing in it is trusted, everything is checked before it is shown."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints, ValidationError

from niwaki.certification.artefact import fingerprints
from niwaki.certification.certificate import FILE as CERTIFICATE
from niwaki.certification.certificate import Certificate, read_certificate
from niwaki.policies.files import naming, parsing, read_bytes
from niwaki.policies.network import NetworkPolicy
from niwaki.policies.storage import load_niwaki
from niwaki.types import NiwakiError

JSON_LIMIT = 64 * 2**20  # bytes
FORMAT = 1
Text = Annotated[str, StringConstraints(max_length=4000)]
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0, le=1)]
Counts = dict[Text, Count]


class _Part(BaseModel):
    """Keys of a newer niwaki are let through unread: a report shows what it knows."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Measured(_Part):
    """What episodes said of a policy: of a stage, or as part of its row."""

    nonzero_weights: Count | None = None
    episodes: Count = 0
    return_mean: FiniteFloat | None = None
    return_low: FiniteFloat | None = None
    return_high: FiniteFloat | None = None
    violations: Counts | None = None  # None: only the rate was kept
    violation_rate: Rate | None = None


class PolicyRow(Measured):
    """`niwaki.evaluation.policy_row`, as it was written."""

    weights: Count
    nonzero_weights: Count
    parameters: Count
    nonzero_parameters: Count
    bytes: Count
    ns_per_call: FiniteFloat | None = None
    file: Text = ""  # of the run's folder, that holds the network


class Difference(_Part):
    """`niwaki.evaluation.paired_difference`, as it was written."""

    episodes: Count
    return_mean: FiniteFloat
    return_low: FiniteFloat | None = None
    return_high: FiniteFloat | None = None
    violation_rate: FiniteFloat
    violation_low: FiniteFloat | None = None
    violation_high: FiniteFloat | None = None


class Stage(Measured):
    """One line of the ledger: what was done, how long it took and how good the policy was then."""

    stage: Text
    title: Text = ""
    seconds: FiniteFloat = 0.0
    sparsity: Rate | None = None
    counterexamples: Count | None = None
    passed: bool | None = None
    shipped: bool = False


class Attempt(_Part):
    """A certificate that was tried."""

    passed: bool = False
    reason: Text = ""  # why not


class Rule(_Part):
    """What a smaller policy may lose beside its teacher."""

    return_loss: Annotated[FiniteFloat, Field(ge=0)]  # share of the return
    more_violations: Rate


class Exam(_Part):
    """The last exam of a shrink run; bounds are one-sided, at 95 %."""

    passed: bool
    reason: Text = ""
    policy: PolicyRow
    teacher: PolicyRow
    return_difference: FiniteFloat
    return_difference_lower: FiniteFloat
    rate_difference_upper: FiniteFloat
    looks: Count


class Shrunk(_Part):
    """What only a shrink run has: the rule of its exams, and how the last one ended."""

    rule: Rule
    most_parameters: Count | None = None
    exams: Count = 0
    exam: Exam | None = None


class Series(_Part):
    """Policies that belong together in the picture of the fronts, the smallest first."""

    name: Text
    rows: Annotated[tuple[PolicyRow, ...], Field(max_length=1000)] = ()


class Fronts(_Part):
    """Policies of every size over the same episodes. `policy`: the shipped one; `knee`: the recommended one."""

    series: Annotated[tuple[Series, ...], Field(max_length=10)] = ()
    teacher: PolicyRow
    policy: PolicyRow | None = None
    knee: PolicyRow | None = None
    rule: Rule


class SpecText(_Part):
    """A specification's name and formula."""

    name: Text
    text: Text


class TaskText(_Part):
    """The task as the run wrote it down, enough to build it again."""

    name: Text
    title: Text
    simulator: Text = ""
    source: Annotated[str, StringConstraints(max_length=1_000_000)] | None = None
    specs: tuple[SpecText, ...] = ()
    return_threshold: FiniteFloat | None = None
    risk: FiniteFloat | None = None
    confidence: FiniteFloat | None = None


class Run(_Part):
    """run.json. `shipped`: a policy was handed over; `shrunk`: by niwaki shrink, after an exam."""

    format: int
    niwaki: Text = ""
    command: tuple[Text, ...] = ()
    versions: dict[Text, Text] = {}
    seed: Count = 0
    task: TaskText
    shipped: bool
    reason: Text = ""
    teacher: PolicyRow
    policy: PolicyRow | None = None
    pruned: Rate | None = None
    pruned_with_biases: Rate | None = None
    paired_difference: Difference | None = None
    counterexamples_found: Count = 0
    counterexamples_left: Count = 0
    search_simulations: Count = 0
    seconds: FiniteFloat = 0.0
    stages: Annotated[tuple[Stage, ...], Field(max_length=1000)] = ()
    attempts: Annotated[tuple[Attempt, ...], Field(max_length=1000)] = ()
    shrunk: Shrunk | None = None
    fronts: Fronts | None = None

    @property
    def path(self) -> tuple[Stage, ...]:
        """The stages whose networks were flown, without the teacher's own."""
        flown = (s for s in self.stages if s.nonzero_weights is not None and s.return_mean is not None)
        return tuple(stage for stage in flown if stage.stage != "teacher")

    @property
    def result(self) -> PolicyRow | None:
        """The row of the policy that was shipped; None where none was."""
        return self.policy if self.shipped else None


@dataclass(frozen=True)
class Claim:
    """certificate.json: the certificate, or why it says nothing. `changed` names files of other bytes than
    it is about."""

    certificate: Certificate | None
    complaint: str | None = None
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class RunFolder:
    """What the files of a run say. `policy` is None where nothing was shipped."""

    path: Path
    run: Run
    teacher: NetworkPolicy
    policy: NetworkPolicy | None
    claim: Claim


def read_run_folder(path: Path) -> RunFolder:
    """The folder's contents, checked. Raises NiwakiError naming the file and what is wrong with it."""
    if not path.is_dir():
        raise NiwakiError(f"there is no folder {str(path)!r}: give one that niwaki ship or niwaki shrink wrote")
    run = _read_run(path / "run.json")
    weights = path / "policy.safetensors"
    return RunFolder(
        path=path,
        run=run,
        teacher=load_niwaki(path / "teacher.safetensors"),
        policy=load_niwaki(weights) if run.shipped and weights.exists() else None,
        claim=_read_claim(path),
    )


def _read_claim(path: Path) -> Claim:
    """A certificate that cannot be trusted is shown as such: the rest of the run is still worth a look."""
    if not (path / CERTIFICATE).exists():
        return Claim(None)
    try:
        certificate = read_certificate(path)
        missing = {name for name in certificate.files if Path(name).name != name or not (path / name).is_file()}
        found = fingerprints(path, sorted(set(certificate.files) - missing))
    except NiwakiError as error:
        return Claim(None, str(error))
    changed = (name for name, digest in certificate.files.items() if found.get(name) != digest)
    return Claim(certificate, None, tuple(sorted(changed)))


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file of limited size."""
    with naming(path), parsing("JSON file"):
        value = json.loads(read_bytes(path, limit=JSON_LIMIT), parse_constant=_refuse)
        if not isinstance(value, dict):
            raise NiwakiError(f"a JSON object is expected, this is a {type(value).__name__}")
    return value


Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], value: object, name: str) -> Model:
    """The value as the model. Raises NiwakiError with the first offending place."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise NiwakiError(f"{name}: {place}: {first['msg']}, got {str(first['input'])[:60]!r}") from error


def _read_run(path: Path) -> Run:
    value = read_object(path)
    if value.get("format") != FORMAT:
        shown = str(value.get("format"))[:40]
        raise NiwakiError(
            f"run.json has format {shown}, this niwaki reads format {FORMAT}: use the niwaki it came from"
        )
    if "shipped" not in value:
        raise NiwakiError(f"the run in {str(path.parent)!r} has no outcome yet: give its command again")
    return validated(Run, value, path.name)


def _refuse(constant: str) -> float:
    raise NiwakiError(f"{constant} is not a number in JSON")
