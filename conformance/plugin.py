"""The pytest plugin: `pytest -p conformance.plugin …`, and what `trr-conformance run` and `smoke` stand on.

It does nothing unless the run selects suites or smoke checks (or names an environment). Then, in the process that the
user started, it resolves the environment, starts the lab where the suite plays the backend, and the bundled reference
where no other target is named, makes sure that the target answers, hands all that to the xdist workers, and turns the
tests' results into verdicts, reports and an exit code.
"""

from __future__ import annotations

import datetime
import fcntl
import inspect
import json
import tempfile
import time
import uuid
from collections.abc import Generator
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

import contracts
from conformance import environment, profiles, report, results, terminal, waivers
from conformance.backend import Backend
from conformance.bundled import BundledReference
from conformance.environment import EnvironmentSource
from conformance.errors import NotVerified, TargetUnreachable, UsageError
from conformance.exchange import NOT_REACHED, Client, Pace, Request
from conformance.lab.client import EVERY_LISTENER, LabProcess
from conformance.redaction import Redactor
from conformance.results import Claim, Judge
from conformance.undo import PATIENCE_S, Journal, NotRestored, ended_like_by_ctrl_c, undisturbed
from conformance.verdict import ExitCode, Judgement, Result, Terms, Verdict, judge
from contracts import Contracts

SUITES = Path(__file__).parent / "suites"
SMOKE = Path(__file__).parent.parent / "smoke"
ENVIRONMENTS = Path("smoke/environments.toml")
PRODUCTION_RATE = 20.0
"""Requests per second on production, at most."""

OBSERVED = "observed"
"""The property of a test that says what it saw, for the evidence: (what was looked at, what came)."""

pytest_plugins = ["conformance.fixtures"]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance", "contract conformance")
    add = group.addoption
    add("--env", metavar="NAME", help="the environment to check, of the environment file")
    add("--env-file", metavar="PATH", help="the environment file (default: smoke/environments.toml)")
    for key in environment.URL_KEYS:
        add(f"--{key.replace('_', '-')}", metavar="URL", help=f"{key} of an environment made on the command line")
    add(
        "--badge-junit", metavar="PATH", help="badge_junit of any environment: the JUnit file of a run over the vectors"
    )
    add("--target", action="append", metavar="NAME", help="check only this target: backend, app or screenalytics")
    add("--clause", action="append", metavar="PATTERN", help="check only these clauses: AUTH-03, 'TOG-*'")
    add(
        "--require", action="append", metavar="CLAUSES", help="fail unless these clauses are verified; 'all': every one"
    )
    # --strict is pytest's own option; here it also makes a SHOULD that fails fail the run
    add("--waivers", metavar="PATH", help="accepted failures")
    add("--write-waivers", metavar="PATH", help="draft waivers for what failed")
    add("--report-dir", metavar="DIR", help="write report.json, report.html and evidence.md there")
    add("--profile", choices=profiles.PROFILES, default="default", help="how hard to try")
    add("--replay", metavar="PATH", help="run again what failed in this report.json, with its seed and profile")
    add("--seed", type=int, default=profiles.DEFAULT_SEED, help="what the random choices are made from")
    add("--allow-writes", action="store_true", help="on production: toggle the fixtures' own link, and put it back")
    add("--restore", action="store_true", help="put back what an earlier run left changed, and check nothing")
    add("--no-probes", action="store_true", help="on production: send no refusal probes")
    add(
        "--patience",
        type=float,
        default=PATIENCE_S,
        metavar="SECONDS",
        help="how long a system may be away at the end before what was changed there is given up (default %(default)g)",
    )
    add("--rogue", metavar="NAME", help="run the bundled reference with this fault")
    add("--mutant", metavar="FILE", help="run the bundled reference with the change of this mutant")
    add("--no-shrinking", action="store_true", help="show a failure as it was drawn, without looking for a simpler one")
    add("--trace-calls", metavar="DIR", help="write down which tests ran when, and what the bundled reference did when")
    add("--tests", metavar="FILE", help="run only the tests that this JSON list names")
    add("--until", metavar="CLAUSES", help="run no more tests of these clauses once the first of them has failed")
    add("--prefork", metavar="SOCKET", help="fork the bundled reference from this `python -m reference --prefork`")
    add("--request-timeout", type=float, default=10.0, metavar="SECONDS", help="time limit of one request")
    add("--record-requests", metavar="DIR", help="write every request down there, with its secrets")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Before xdist looks at `-n`: a live system gets one request at a time. `--restore` ends here."""
    source = None if _is_worker(config) else _source(config)
    if config.option.restore:
        return _restore(config, source)
    is_live = source is not None and source.table.get("production") is True
    if (is_live or SMOKE in [_chosen(argument, config) for argument in config.args]) and hasattr(
        config.option, "numprocesses"
    ):
        config.option.numprocesses = 0
    return None


def _restore(config: pytest.Config, source: EnvironmentSource | None) -> int:
    """Puts back what the journal of the environment holds; exit 7 where that is not possible."""
    try:
        if source is None:
            raise UsageError("--restore needs --env NAME")
        run = Run(config, source, uuid.uuid4().hex[:12])
        with run.journal.alone():
            left = run.journal.changes()
            lines = run.put_back()
    except (UsageError, contracts.ContractError) as error:
        raise pytest.UsageError(str(error)) from None
    for line in lines:
        print(f"NOT PUT BACK: {line}")
    print(f"{source.name}: {len(left) - len(lines)} put back, {len(lines)} not")
    return int(ExitCode.NOT_RESTORED if lines else ExitCode.CONFORMING)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "clause(*ids, level=...): the clauses that the test checks, the main one first")
    config.addinivalue_line("markers", "thorough: the test takes too long for any profile but thorough")
    config.addinivalue_line("markers", "exclusive: the test disturbs others of its kind, and runs after them, alone")
    config.addinivalue_line("markers", "waits: the test does nothing for seconds, and runs first, while others work")
    if _is_worker(config):
        handed = config.workerinput.get("conformance")  # type: ignore[attr-defined]
        run = None if handed is None else Run(config, EnvironmentSource(**handed["source"]), handed["run_id"])
        if run is not None:
            run.lab_url = handed["lab_url"]
    else:
        run = _start(config)
    if run is None:
        return
    config.pluginmanager.register(run, "conformance-run")
    config.stash[RUN] = run


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def _source(config: pytest.Config) -> EnvironmentSource | None:
    """The environment that the command line names, if any; raises pytest's UsageError."""
    option = config.option
    urls = {key: getattr(option, key) for key in environment.URL_KEYS if getattr(option, key)}
    named = bool(option.env or option.env_file)
    try:
        if urls and named:
            raise UsageError("--env and --env-file exclude --backend-url and the like")
        for ours in ("rogue", "mutant"):
            if getattr(option, ours) and (urls or named):
                raise UsageError(
                    f"--{ours} is for the bundled reference: it excludes --env, --env-file and --backend-url"
                )
        if urls:
            return environment.from_urls(urls)
        if named:
            default = ENVIRONMENTS if ENVIRONMENTS.exists() else SMOKE / "environments.toml"
            return environment.read_file(Path(option.env_file or default), option.env)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    return None


def _start(config: pytest.Config) -> Run | None:
    """The run that the command line asks for; None where it is about neither suites nor smoke."""
    source = _source(config)
    chosen = [_chosen(argument, config) for argument in config.args]
    if source is None and not any(chosen):
        return None
    try:
        if source is None and SMOKE in chosen:
            raise UsageError("smoke checks a live system: name it by --env NAME")
        if config.option.request_timeout <= 0:
            raise UsageError("--request-timeout: must be positive")
        return Run(config, source, uuid.uuid4().hex[:12])
    except (UsageError, contracts.ContractError) as error:
        raise pytest.UsageError(str(error)) from None


def _chosen(argument: str, config: pytest.Config) -> Path | None:
    """The folder of ours that a positional argument is in or contains, if any."""
    path = (config.invocation_params.dir / argument.split("::")[0]).resolve()
    for folder in (SUITES, SMOKE):
        if path.is_relative_to(folder) or folder.is_relative_to(path):
            return folder
    return None


class Run:
    """One run: the same class in the controller, which judges, and in each xdist worker, which only checks."""

    def __init__(self, config: pytest.Config, source: EnvironmentSource | None, run_id: str) -> None:
        option = config.option
        self.config = config
        self.run_id = run_id
        self.is_worker = _is_worker(config)
        self.is_smoke = SMOKE in [_chosen(argument, config) for argument in config.args]
        self.contracts: Contracts = contracts.load()
        replayed = report.read(Path(option.replay)) if option.replay else None
        self.profile: str = option.profile if replayed is None else replayed.get("profile", option.profile)
        self.seed: int = option.seed if replayed is None else replayed["seed"]
        self.redactor = Redactor()
        self.judge = Judge(self.contracts.clauses, self.redactor)
        self.waivers = waivers.read(Path(option.waivers), self.contracts.clauses) if option.waivers else ()
        self.waived, self.waiver_problems = waivers.in_force(self.waivers, datetime.date.today())
        self.started_at = datetime.datetime.now(datetime.UTC)
        self.results: list[Result] = []
        self.evidence: list[tuple[str, str]] = []
        self.planned: dict[str, list[Claim]] = {}
        self.codes: list[ExitCode] = []
        self.problems: list[str] = []
        self.judgement: Judgement | None = None
        self.reference: BundledReference | None = None
        self.lab: LabProcess | None = None
        self.lab_url: str | None = None
        self._until_the_end = ExitStack()
        self._pace = Pace(PRODUCTION_RATE)
        self.trace = Path(option.trace_calls).absolute() if option.trace_calls else None
        self.replayed: list[str] = []
        """The clauses whose failed tests are run again."""
        self.only = _listed(Path(option.tests)) if option.tests else None
        if replayed is not None:
            self.only = report.failed_tests(replayed)
            self.replayed = [
                clause["id"]
                for clause in replayed["clauses"]
                if self.only & {test["nodeid"] for test in clause["tests"]} and clause["id"] in self.contracts.clauses
            ]
            if not self.replayed:
                raise UsageError(f"--replay {option.replay}: nothing failed in it")
        self._functions = None if self.only is None else {nodeid.partition("[")[0] for nodeid in self.only}
        self.until = _split([option.until] if option.until else None)
        for clause in self.until:
            if clause not in self.contracts.clauses:
                raise UsageError(f"--until {clause}: is no clause")
        self.record = Path(option.record_requests) if option.record_requests else None
        for target in option.target or ():
            if target not in environment.TARGETS:
                raise UsageError(f"--target {target}: must be one of {', '.join(environment.TARGETS)}")
        self.source = source
        # until the bundled reference runs, there is nothing to know of it
        self.environment = environment.resolve(EnvironmentSource("reference", {"production": False}))
        self.targets: tuple[str, ...] = tuple(option.target or environment.TARGETS)
        if source is not None:
            self._use(source)
        profiles.load(self.profile, shrinking=not option.no_shrinking)
        # the public way to set it, before hypothesis' own plugin reads it
        config.option.hypothesis_seed = str(self.seed)
        if config.option.tbstyle == "auto":
            config.option.tbstyle = "no"  # the summary tells each failure, for another team

    def _use(self, source: EnvironmentSource) -> None:
        if self.config.option.badge_junit:
            source = replace(source, table={**source.table, "badge_junit": self.config.option.badge_junit})
        self.source = source
        self.environment = environment.resolve(source)
        for key, secret in self.environment.credentials.items():
            self.redactor.add(key, secret)
        for key in ("database_url", "screenalytics_database_url"):
            if self.environment.get(key):
                self.redactor.add(key, self.environment.get(key))
        self.targets = tuple(self.config.option.target or self.environment.targets)
        for target in self.targets:
            if not self.environment.reaches(target):
                raise UsageError(f"--target {target}: {target}_url is not set")
        if not self.targets:
            raise UsageError(
                f"environments.{source.name}: has no target: set backend_url, app_url or screenalytics_url"
            )

    def client(self, timeout_s: float | None = None) -> Client:
        """A client of its own, with the run's time limit for one request or another one."""
        limit_s = self.config.option.request_timeout if timeout_s is None else timeout_s
        pace = self._pace if self.environment.production else None
        return Client(run_id=self.run_id, timeout_s=limit_s, record=self.record, pace=pace)

    def backend(self) -> Backend:
        """The backend of the environment, over a connection of its own."""
        return Backend(self.environment, self.client(), self.contracts, self.redactor, may_write=self.may_write)

    @property
    def journal(self) -> Journal:
        """What is to be put back on the environment's systems."""
        return Journal(self.environment)

    def put_back(self) -> list[str]:
        """Puts back what the journal holds, and returns a line for each flag that has not its first value again."""
        lines = []
        try:
            changes = self.journal.changes()
        except UsageError as error:
            return [str(error)]
        if not (self.may_write or self.config.option.restore):
            return [
                f"{change} has changed, and nothing may be written: --restore puts it back"
                for change in changes.values()
            ]
        for change in changes.values():
            backend = self.backend()
            try:
                backend.put_back(change, patience_s=self.config.option.patience)
            except NotRestored as error:
                lines.append(self.redactor.text(str(error)))
            finally:
                backend.close()
                backend.client.close()
        return lines

    @property
    def may_write(self) -> bool:
        """Whether the flags of the environment's links may be changed."""
        return not self.environment.production or self.config.option.allow_writes

    @property
    def borrows(self) -> bool:
        """Whether the run uses the environment's own link, to which nobody else may see to meanwhile."""
        return self.environment.reaches("backend") and "seeded_person" in (self.environment.get("fixtures") or ())

    @property
    def selected(self) -> list[str]:
        """The clauses that the run was asked to check, by target and `--clause`."""
        patterns = _split(self.config.option.clause) or self.replayed
        ids = self.contracts.select(patterns) if patterns else list(self.contracts.clauses)
        return [clause for clause in ids if set(self.contracts.clauses[clause].targets) & set(self.targets)]

    @property
    def replay(self) -> str:
        """How to repeat the run's random choices."""
        return f"--seed {self.seed} --profile {self.profile}"

    # --- start ---

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        if self.is_worker or self.config.option.collectonly:
            return
        try:
            self._start_lab()
            if self.source is None:
                extra = [f"--only={target}" for target in self.config.option.target or ()]
                for option, listener in (("--trr-api-url", "stub_backend"), ("--vision-url", "stub_vision")):
                    if self.lab is not None and listener in self.lab.urls:
                        extra += [option, self.lab.urls[listener]]
                if self.config.option.mutant:
                    extra += ["--mutant", str(Path(self.config.option.mutant).absolute())]
                if self.trace is not None:
                    extra += ["--trace", str(self.trace / "calls")]
                self.reference = BundledReference(
                    rogue=self.config.option.rogue, extra=extra, prefork=self.config.option.prefork
                )
                self._use(self.reference.source)
            unknown = [
                p for p in _split(self.config.option.require) if p.lower() != "all" and not self.contracts.select([p])
            ]
            if unknown:
                raise UsageError(f"--require {unknown[0]}: no clause matches")
            if self.borrows:
                self._until_the_end.enter_context(self.journal.alone())
                self._until_the_end.enter_context(ended_like_by_ctrl_c())
                self.journal.require_nothing_left()
            for target in self.targets:
                self._make_sure_it_answers(target)
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None
        except NotRestored as error:
            self.codes.append(ExitCode.NOT_RESTORED)
            self.problems.append(str(error))
            session.shouldstop = str(error)
        except TargetUnreachable as error:
            self.codes.append(ExitCode.TARGET_ERROR)
            self.problems.append(str(error))
            self.results += [Result(clause, "(start)", Verdict.ERROR, reason=str(error)) for clause in self.selected]
            session.shouldstop = str(error)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Runs no test where the start has failed; xdist would send them all to workers that know no target."""
        return True if session.shouldstop and not self.is_worker else None

    def _start_lab(self) -> None:
        """Starts those of the suite's own servers that a target calls and can be told to call; none for smoke."""
        if self.is_smoke:
            return
        callers = {"stub_backend": {"app", "screenalytics"}, "page_origin": {"backend"}, "stub_vision": {"backend"}}
        binds = {
            listener: bind
            for listener, targets in callers.items()
            if targets & set(self.targets)
            and (bind := EVERY_LISTENER[listener] if self.source is None else self.environment.get(listener))
        }
        if binds:
            self.lab = LabProcess(binds)
            self.lab_url = self.lab.control_url

    def _make_sure_it_answers(self, target: str) -> None:
        url = self.environment.get(f"{target}_url")
        if url is None:  # a command, which is only reached by running it
            return
        client = self.client()
        try:
            exchange = client.send(Request("GET", url))
        finally:
            client.close()
        if exchange.response is None:
            raise TargetUnreachable(f"{target}_url {url}: {exchange.outcome()}")

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        source = self.source
        if source is None:  # the start has failed, and no test will run
            return
        node.workerinput["conformance"] = {
            "source": {"name": source.name, "table": source.table, "variables": source.variables},
            "run_id": self.run_id,
            "lab_url": self.lab_url,
        }

    # --- collection ---

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Leaves out the suites of targets that are not checked."""
        others = (target for target in environment.TARGETS if target not in self.targets)
        return any(collection_path.is_relative_to(SUITES / target) for target in others) or None

    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makeitem(
        self, collector: pytest.Collector, name: str, obj: object
    ) -> list[pytest.Item] | None:
        """Makes no items of functions of which none is to run, which takes longer than running a few others."""
        if self._functions is None or not inspect.isfunction(obj) or f"{collector.nodeid}::{name}" in self._functions:
            return None
        return []

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        selected, kept, dropped = set(self.selected), [], []
        for item in items:
            claimed = results.claims(item, self.contracts.clauses)
            excluded = self.only is not None and item.nodeid not in self.only
            excluded |= self.profile != "thorough" and item.get_closest_marker("thorough") is not None
            if excluded or (claimed and not selected & {claim.clause for claim in claimed}):
                dropped.append(item)
                continue
            kept.append(item)
            self.planned[item.nodeid] = [claim for claim in claimed if claim.clause in selected]
        if dropped:
            config.hook.pytest_deselected(items=dropped)
        first = set(self.until[:1])

        def order(item: pytest.Item) -> tuple[bool, bool, int, bool]:
            is_of_the_first = bool(first & {claim.clause for claim in self.planned[item.nodeid]})
            waits, exclusive = (item.get_closest_marker(name) is not None for name in ("waits", "exclusive"))
            return not is_of_the_first, not waits, GROUPS.index(_group(item)), exclusive

        items[:] = sorted(kept, key=order)

    # --- tests ---

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Leaves out what is of the clauses of `--until` alone, once the first of them has failed."""
        claimed = {claim.clause for claim in self.planned.get(item.nodeid, ())}
        if not claimed or not claimed <= set(self.until):
            return
        if any(r.clause == self.until[0] and r.verdict in (Verdict.FAILED, Verdict.WARNED) for r in self.results):
            raise NotVerified(f"{self.until[0]} has failed")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Keeps other workers away from the tests that an exclusive one disturbs, while it runs."""
        if not self.is_worker or self.lab_url is None:
            started = time.monotonic()
            ran = yield
            if self.trace is not None:
                with (self.trace / "tests").open("a", encoding="utf-8") as file:
                    file.write(f"{started:.6f} {time.monotonic():.6f} {item.nodeid}\n")
            return ran
        exclusive = item.get_closest_marker("exclusive") is not None
        # readers and a writer: filelock's own lock of this kind costs as much as a test
        with self._turn_path(_group(item)).open("ab") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
            return (yield)

    def _turn_path(self, group: str) -> Path:
        return Path(tempfile.gettempdir()) / f"trr-conformance-{self.run_id}-{group}.lock"

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        made = yield
        made.sections = [(name, self.redactor.text(text)) for name, text in made.sections]
        claimed = results.claims(item, self.contracts.clauses)
        error = call.excinfo.value if call.excinfo is not None else None
        if claimed and (made.when == "call" or error is not None):
            found = self.judge.results(made.nodeid, claimed, error, call.duration)
            # as text: execnet takes neither large negative numbers nor deep values
            made.conformance = json.dumps([result.as_dict() for result in found])  # type: ignore[attr-defined]
            self._show(made, item, found)
        return made

    def _show(self, made: pytest.TestReport, item: pytest.Item, found: list[Result]) -> None:
        """Makes pytest's own words (letters, JUnit) say what the results say."""
        failed = [r for r in found if r.verdict in (Verdict.FAILED, Verdict.ERROR) and not r.premise]
        standing = [result for result in failed if result.clause not in self.waived or result.verdict is Verdict.ERROR]
        excused = [r for r in found if r.verdict is Verdict.WARNED] + [r for r in failed if r not in standing]
        skipped = [result for result in found if result.verdict is Verdict.NOT_VERIFIED]
        if standing:
            made.outcome = "failed"
            result = standing[0]
            made.longrepr = results.as_text(result, self.contracts.clauses[result.clause], self.replay)
        elif excused:
            made.outcome = "skipped"
            made.wasxfail = excused[0].reason or ""
        elif skipped:
            made.outcome = "skipped"
            made.longrepr = (str(item.path), (item.location[1] or 0) + 1, f"not verified: {skipped[0].reason}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if self.is_worker:
            return
        if report.when == "call":
            noted = [value for name, value in report.user_properties if name == OBSERVED]
            self.evidence += [(str(stage), str(observed)) for stage, observed in cast(list[list[object]], noted)]
        found = getattr(report, "conformance", None)
        if found is not None:
            self.results += [Result.from_dict(result) for result in json.loads(found)]
        elif report.failed:
            self.codes.append(ExitCode.CRASHED)
            self.problems.append(f"the harness crashed in {report.nodeid}: {self.redactor.text(report.longreprtext)}")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.is_worker:
            self.codes.append(ExitCode.CRASHED)
            self.problems.append(f"the suite could not be collected: {report.longreprtext}")

    # --- end ---

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        planned = getattr(node, "workeroutput", {}).get("conformance_planned", {})
        for nodeid, claimed in planned.items():
            self.planned[nodeid] = [Claim(*claim) for claim in claimed]

    # after xdist's own: no worker is at work any more
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self.is_worker:
            planned = {nodeid: [[c.clause, c.level] for c in claimed] for nodeid, claimed in self.planned.items()}
            session.config.workeroutput["conformance_planned"] = planned  # type: ignore[attr-defined]
            return
        try:
            if self.config.option.collectonly:
                return
            if exitstatus in (ExitCode.INTERRUPTED, ExitCode.CRASHED, ExitCode.USAGE) and not self.codes:
                self.codes.append(ExitCode(exitstatus))
            with undisturbed(deliver=False) if self.borrows else nullcontext():
                if self.borrows and ExitCode.NOT_RESTORED not in self.codes:
                    left = self.put_back()
                    self.codes += [ExitCode.NOT_RESTORED] * bool(left)
                    self.problems += left
                self._judge()
            assert self.judgement is not None
            session.exitstatus = self.judgement.exit_code
        finally:
            self._stop()

    def _judge(self) -> None:
        self._note_a_target_that_went_away()
        selected = set(self.selected)
        if self.is_smoke:  # it checks some clauses on purpose; the suites check all
            selected &= {claim.clause for claimed in self.planned.values() for claim in claimed}
        told = {(result.nodeid, result.clause) for result in self.results}
        for nodeid, claimed in self.planned.items():
            self.results += [
                Result(claim.clause, nodeid, Verdict.NOT_VERIFIED, claim.level, reason="its test did not run to an end")
                for claim in claimed
                if (nodeid, claim.clause) not in told
            ]
        if not selected:
            patterns = ",".join(_split(self.config.option.clause))
            self.problems.append(f"--clause {patterns}: selects no clause of {', '.join(self.targets)}")
        required = [p.lower() for p in _split(self.config.option.require)]
        terms = Terms(
            selected=frozenset(selected),
            required=frozenset(selected if "all" in required else self.contracts.select(required)),
            strict=self.config.option.strict,
            waived=self.waived,
            waiver_problems=self.waiver_problems,
            codes=tuple(self.codes),
            problems=tuple(self.problems),
        )
        # a test of several clauses says nothing of those that were not asked for, unless it saw them broken
        results = [r for r in self.results if r.clause in selected or r.verdict is Verdict.FAILED]
        self.judgement = judge(self.contracts.clauses, results, terms)
        today = datetime.date.today()
        if self.config.option.write_waivers:
            Path(self.config.option.write_waivers).write_text(waivers.draft(self.judgement, today), encoding="utf-8")
        if self.config.option.report_dir:
            report.write(Path(self.config.option.report_dir), self._about(), self.judgement, self.redactor)

    def _note_a_target_that_went_away(self) -> None:
        """A connection refused in the middle is not verified; a target that is still gone at the end is an error."""
        words = [failure.value for failure in NOT_REACHED]
        if any(word in (result.reason or "") for result in self.results for word in words) and not self.codes:
            for target in self.targets:
                try:
                    self._make_sure_it_answers(target)
                except TargetUnreachable as error:
                    self.codes.append(ExitCode.TARGET_ERROR)
                    self.problems.append(f"the target went away during the run: {error}")

    def _about(self) -> report.Run:
        return report.Run(
            contracts_version=self.contracts.version,
            environment=self.environment.name,
            targets={target: url for target in self.targets if (url := self.environment.get(f"{target}_url"))},
            started_at=self.started_at,
            duration_s=time.time() - self.started_at.timestamp(),
            seed=self.seed,
            profile=self.profile,
            evidence=self.evidence,
        )

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.judgement is not None:
            terminal.summarize(terminalreporter, self._about(), self.judgement, self.replay, self.redactor)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        self._stop()

    def _stop(self) -> None:
        """Stops what this process started, and removes what its workers left."""
        if not self.is_worker:  # others may be at work still
            for group in GROUPS:
                self._turn_path(group).unlink(missing_ok=True)
        for started in (self.reference, self.lab):
            if started is not None:
                started.stop()
        self.reference = self.lab = None
        self._until_the_end.close()


RUN = pytest.StashKey[Run]()


GROUPS = CALLERS, BACKEND = "callers", "backend"
"""Whose tests disturb one another by keeping a listener of the lab away: each group's targets call their own."""


def _group(item: pytest.Item) -> str:
    return BACKEND if item.path.is_relative_to(SUITES / "backend") else CALLERS


def _listed(path: Path) -> frozenset[str]:
    """The tests that a file of `--tests` names; raises UsageError where it is no JSON list of texts."""
    try:
        names = json.loads(path.read_bytes())
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("must be a list of tests' names")
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"--tests {path}: {error}") from None
    return frozenset(names)


def _split(values: list[str] | None) -> list[str]:
    return [part.strip() for value in values or () for part in value.split(",") if part.strip()]
