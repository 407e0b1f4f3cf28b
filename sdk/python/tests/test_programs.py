"""Whole programs, as a container runs them."""

from __future__ import annotations

import os
import re
import signal

import pytest

MODULE = ["-m", "retryable_task", "job:main"]


def test_a_returned_value_is_the_result(program):
    end = program.run("def main(day): return {'day': day, 'rows': 12}", "2026-11-22")
    assert (end.code, end.report, end.err) == (0, {"result": {"day": "2026-11-22", "rows": 12}}, "")


def test_nothing_returned_is_nothing_reported(program):
    assert program.run("def main(): pass")[:3] == (0, None, "")


def test_an_exception_ends_with_1_a_traceback_of_its_own_and_a_report(program):
    end = program.run(
        """
        def fetch(): raise ConnectionRefusedError("orders-db:5432")
        def main(): fetch()
        """
    )
    assert end.code == 1
    assert end.report["errorType"] == "ConnectionRefusedError"
    assert end.report["errorTypes"] == ["ConnectionRefusedError", "ConnectionError", "OSError", "Exception"]
    assert end.report["message"] == "ConnectionRefusedError: orders-db:5432 (job.py:2 in fetch)"
    lines = end.err.splitlines()
    assert lines[0] == "Traceback (most recent call last):" and lines[-1] == "ConnectionRefusedError: orders-db:5432"
    assert "retryable_task" not in end.err, "the traceback begins with the function"


def test_retry_after_and_do_not_retry(program):
    end = program.run("from retryable_task import *\ndef main(): raise RetryAfter('30', 'HTTP 429')")
    assert (end.code, end.report["retryAfterSeconds"]) == (1, 30)
    end = program.run("from retryable_task import *\ndef main(): raise DoNotRetry('no such day')")
    assert (end.code, end.report["doNotRetry"]) == (1, True)


@pytest.mark.parametrize(
    ("exit", "code", "report"),
    [
        ("sys.exit()", 0, None),
        ("sys.exit(0)", 0, None),
        ("sys.exit(75)", 75, None),
        ("sys.exit('no disk')", 1, {"message": "no disk"}),
    ],
)
def test_an_exit_is_what_it_was_and_leaves_the_log_to_speak(program, exit, code, report):
    end = program.run(f"import sys\ndef main(): {exit}")
    assert (end.code, end.report) == (code, report)


def test_sigterm_runs_finally_and_exits_with_143(program):
    source = """
        import time
        from retryable_task import checkpoint
        def main():
            try:
                checkpoint({"row": 7})
                print("ready", flush=True)
                time.sleep(60)
            finally:
                print("cleaned up")
        """
    end = program.stopped(source, MODULE)
    assert (end.code, end.out, end.err) == (143, "cleaned up\n", "")
    assert end.report["checkpoint"] == '{"row":7}'
    assert re.fullmatch(r"stopped by SIGTERM \(job\.py:\d in main\)", end.report["message"])


def test_sigterm_ends_an_event_loop(program):
    source = """
        import asyncio
        async def main():
            try:
                print("ready", flush=True)
                await asyncio.sleep(60)
            finally:
                print("cleaned up")
        """
    end = program.stopped(source, MODULE)
    assert (end.code, end.out) == (143, "cleaned up\n")
    assert end.report["message"].startswith("stopped by SIGTERM")


def test_a_handler_of_the_programs_own_stays(program):
    source = """
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))
        def main():
            print("ready", flush=True)
            time.sleep(60)
        """
    # It is set when the module is imported, after ours.
    assert program.stopped(source, MODULE).code == 9


def test_a_checkpoint_outlives_a_kill_and_a_success_clears_it(program):
    source = """
        import os, signal
        from retryable_task import attempt, checkpoint
        def main():
            if attempt().checkpoint == 2:
                return
            checkpoint(1)
            checkpoint(2)
            os.kill(os.getpid(), signal.SIGKILL)
        """
    end = program.run(source)
    assert (end.code, end.report) == (-signal.SIGKILL, {"checkpoint": "2"})
    program.env["RETRYABLE_CHECKPOINT"] = "2"
    assert program.run(source).report is None
    end = program.run("from retryable_task import checkpoint\ndef main(): checkpoint([1])")
    assert (end.code, end.report) == (0, None)


def test_a_failure_has_its_checkpoint(program):
    end = program.run("from retryable_task import checkpoint\ndef main(): checkpoint('a'); checkpoint('b'); 1 / 0")
    assert (end.report["errorType"], end.report["checkpoint"]) == ("ZeroDivisionError", '"b"')
    end = program.run("import sys; from retryable_task import checkpoint\ndef main(): checkpoint('a'); sys.exit(3)")
    assert (end.code, end.report) == (3, {"checkpoint": '"a"'})


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ("'x' * 1023", "ValueError", "a checkpoint has at most 1,024 bytes of JSON, this one has 1,025: "),
        ("object()", "TypeError", "an object of type object has no form in JSON"),
        ("float('nan')", "ValueError", ""),
    ],
)
def test_a_checkpoint_that_cannot_be_kept_is_an_error_at_once(program, value, error, words):
    end = program.run(f"from retryable_task import checkpoint\ndef main(): checkpoint({value})")
    assert end.report["errorType"] == error and words in end.report["message"]


@pytest.mark.parametrize("value", ["7", "", "null", None, {"a": [1.5, "ä"]}, 2**70, "\\udcff.csv", 'say "$(HOME)"', True])
def test_a_checkpoint_comes_back_as_it_went(program, value):
    end = program.run(f"from retryable_task import checkpoint\ndef main(): checkpoint({value!r}); 1 / 0")
    program.env["RETRYABLE_CHECKPOINT"] = end.report["checkpoint"]
    end = program.run(f"from retryable_task import attempt\ndef main(): return attempt().checkpoint == {value!r}")
    assert end.report == {"result": True}


def test_partial_success(program):
    end = program.run("from retryable_task import partial\ndef main(): partial(3, 100); return 'ok'")
    assert (end.code, end.report) == (0, {"partial": {"failed": 3, "total": 100}, "result": "ok"})
    end = program.run("from retryable_task import *\ndef main(): checkpoint(7); partial(3, 100)")
    assert end.report == {"partial": {"failed": 3, "total": 100}, "checkpoint": "7"}, "what is left may be run again"
    end = program.run("from retryable_task import partial\ndef main(): partial(3, 2)")
    assert "0 <= failed <= total: 3, 2" in end.report["message"]


def test_children_report_nothing_and_die_as_children_do(program):
    source = """
        import multiprocessing, os, subprocess, sys, time
        from retryable_task import reported
        def fails(): raise ValueError("in the child")
        def sleeps(): time.sleep(60)
        @reported
        def nested(): raise ValueError("nested")
        def main():
            forks = multiprocessing.get_context("fork")
            codes = []
            for function in (fails, nested):
                child = forks.Process(target=function)
                child.start()
                child.join()
                codes.append(child.exitcode)
            child = forks.Process(target=sleeps)
            child.start()
            child.terminate()
            child.join()
            codes.append(child.exitcode)
            pid = os.fork()
            if pid == 0:
                return "the child's"
            codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            codes.append(subprocess.run([sys.executable, "-c", "raise SystemExit(5)"]).returncode)
            return codes
        """
    end = program.run(source)
    assert (end.code, end.report) == (0, {"result": [1, 1, -15, 0, 5]}), end.err


def test_spawned_children_report_nothing(program):
    source = """
        import multiprocessing
        from retryable_task import reported, checkpoint
        @reported
        def child(): raise ValueError("in the child")
        def keeps(): checkpoint(1)
        def main():
            spawn = multiprocessing.get_context("spawn")
            for function in (child, keeps):
                process = spawn.Process(target=function)
                process.start()
                process.join()
                assert process.exitcode == 1
            return "parent"
        """
    end = program.run(source)
    assert (end.code, end.report) == (0, {"result": "parent"}), end.err


def test_an_error_out_of_a_pool_of_processes_is_itself(program):
    source = """
        from concurrent.futures import ProcessPoolExecutor
        from retryable_task import RetryAfter
        def busy(_): raise RetryAfter(30, "429")
        def main():
            with ProcessPoolExecutor(1) as pool:
                list(pool.map(busy, [1]))
        """
    end = program.run(source)
    assert (end.code, end.report["errorType"], end.report["retryAfterSeconds"]) == (1, "RetryAfter", 30)


def test_async_functions(program):
    assert program.run("async def main(): return 7").report == {"result": 7}
    assert program.run("async def main(): raise KeyError('k')").report["errorType"] == "KeyError"


def test_a_generator_is_no_silent_success(program):
    end = program.run("def main():\n    yield 1")
    assert end.code == 1 and "is a generator, of which nothing has run" in end.report["message"]


def test_arguments_reach_functions_and_parsers(program):
    assert program.run("def main(a, b='x', *rest): return [a, b, *rest]", "1", "2", "3").report == {"result": ["1", "2", "3"]}
    end = program.run("import sys\ndef main(): return sys.argv", "--day", "7")
    assert end.report == {"result": ["job:main", "--day", "7"]}
    end = program.run("class Command:\n    def __call__(self, *args, **kwargs): return [*args]\nmain = Command()", "7")
    assert end.report == {"result": []}, "the commands of click read sys.argv"
    end = program.run("class A:\n    @staticmethod\n    def run(x): return x", "7", target="job:A.run")
    assert end.report == {"result": "7"}


@pytest.mark.parametrize(
    ("target", "args", "words"),
    [
        ("job", [], "job: give MODULE:FUNCTION, such as job:main"),
        ("job.py:main", [], "job.py:main: give the module's name, not its file: job:main"),
        ("", [], "no function: give MODULE:FUNCTION, such as module:main"),
        ("--verbose", [], "unknown option --verbose"),
        ("job:NUMBER", [], "job:NUMBER is no function: int"),
        ("job:main", ["1"], "job:main(a, b) was given 1 arguments: missing a required argument: 'b'"),
    ],
)
def test_a_wrong_command_line_says_what_to_write(program, target, args, words):
    end = program.run("NUMBER = 1\ndef main(a, b): pass", *args, target=target)
    assert end.code == 2
    assert end.err.startswith(f"retryable_task: {words}\n\nusage: ")
    assert end.report["message"] == f"UsageError: {words}"


def test_a_module_that_is_not_there_is_reported(program):
    end = program.run("", target="jbo:main")
    assert (end.code, end.report["errorType"]) == (1, "ModuleNotFoundError")
    end = program.run("import nothing_like_it\ndef main(): pass")
    assert end.report["message"] == "ModuleNotFoundError: No module named 'nothing_like_it' (job.py:1 in <module>)"


def test_the_decorator_is_transparent(program):
    source = """
        from retryable_task import reported, RetryAfter
        @reported
        def inner(): raise RetryAfter(5)
        @reported
        def main(fail=False):
            try:
                inner()
            except RetryAfter:
                pass
            if fail:
                raise ValueError("no")
            return 7
        if __name__ == "__main__":
            assert main() == 7
            try:
                main(fail=True)
            except ValueError as error:
                print("raised", error)
        """
    end = program.script(source)
    assert (end.code, end.out) == (0, "raised no\n"), end.err
    assert end.report["errorType"] == "ValueError", "the last run counts, and the inner one leaves it to the outer"


def test_a_decorated_main_stops_on_sigterm(program):
    source = """
        import time
        from retryable_task import reported
        @reported
        def main():
            print("ready", flush=True)
            time.sleep(60)
        main()
        """
    end = program.stopped(source, ["job.py"])
    assert end.code == 143
    assert re.fullmatch(r"stopped by SIGTERM \(job\.py:\d in main\)", end.report["message"])


def test_outside_of_a_container_nothing_is_written_and_nothing_said(program):
    program.env["TERMINATION_LOG"] = ""
    there = os.path.exists("/dev/termination-log")
    end = program.run("def main(): return 7")
    assert (end.code, end.err) == (0, "")
    assert os.path.exists("/dev/termination-log") == there


def test_a_report_that_cannot_be_written_is_said_and_changes_no_end(program):
    program.env["TERMINATION_LOG"] = "/proc/version"
    end = program.run("def main(): return 7")
    assert end.code == 0 and end.err.startswith("retryable_task: the termination report cannot be written: ")
    program.env["TERMINATION_LOG"] = "/no/such/folder/log"
    assert "there is no folder for TERMINATION_LOG" in program.run("def main(): return 7").err


def test_no_variable_of_the_environment_is_reported(program):
    program.env["DB_PASSWORD"] = "hunter2"
    end = program.run("import os\ndef main():\n    password = os.environ['DB_PASSWORD']\n    raise ValueError('bad login')")
    assert "hunter2" not in str(end.report) and "hunter2" not in end.err
