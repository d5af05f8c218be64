"""The end of a run whose evaluations are all logged: its result and its page."""

from tiltflow.errors import ExplainedError
from tiltflow.evaluation.statistics import result_record
from tiltflow.files import read_json_lines, write_json
from tiltflow.merged_seeds import merge_actions, merge_episodes, merge_logs
from tiltflow.packages import how_to_install
from tiltflow.run_folder import RunFolder
from tiltflow.training.prepare import Prepared, seed_groups
from tiltflow.training.progress import Observe
from tiltflow.training.time_spent import mean_seconds
from tiltflow.training.under_way import Training
from tiltflow.words import spent_text


def finish(training: Training, seconds: float) -> None:
    """Join what the groups of a run wrote that is trained, and conclude it where it is played."""
    prepared, run = training.prepared, training.run
    groups = seed_groups(prepared.config, run)
    merge_logs(run, groups)
    merge_actions(run, groups)
    run.write_time(mean_seconds([run.group(seeds).read_time() for seeds in groups]))
    training.tell(f"time {'of a seed: ' if len(groups) > 1 else ''}{spent_text(run.read_time())}")
    if prepared.config.play:
        conclude(prepared, run, seconds, training.observe)
    training.observe({"event": "finished"})


def conclude(prepared: Prepared, run: RunFolder, seconds: float, observe: Observe) -> None:
    """Write result.json and, where it can be, report.html of a run whose evaluations are all logged."""
    evaluations, steps = read_json_lines(run.evaluations_file), prepared.schedule.steps
    result = result_record(prepared.task, prepared.config.algorithm, evaluations, steps, seconds)
    merge_episodes(run, seed_groups(prepared.config, run))
    write_json(run.result_file, result)
    _write_report(run, observe)


def _write_report(run: RunFolder, observe: Observe) -> None:
    try:
        from tiltflow.report.run_page import write_report
    except ImportError as error:
        text = f"No report was written: {error}. {how_to_install('matplotlib')}"
        observe({"event": "message", "level": "warning", "text": text})
        return
    try:
        write_report(run.path)
    except Exception as error:
        reason = str(error) if isinstance(error, ExplainedError) else f"{type(error).__name__}: {error}"
        text = (
            f"The training is finished, and its score is in {run.result_file}, but its page could not be "
            f"written: {reason} Write it with: tiltflow report {run.path}"
        )
        observe({"event": "message", "level": "warning", "text": text})
