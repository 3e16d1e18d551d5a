"""tools/gpu without a GPU: a `headgate` that is a shell script, packed, unpacked and measured."""
import json
import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
FAKE = """#!/bin/sh
case "$*" in
  *copy*) echo '[{"tb_per_s": 4.5}]' ;;
  *rows*) echo 'a line before'; echo '[]' ;;
  *layer*) exit 0 ;;
  *"--ranks 1"*) echo '{"steps": [{"us": 30.0}, {"us": "?"}]}' ;;
  *"--ranks 2"*) echo '{"steps": [{"us": 20.0}, {"us": 1.0}]}' ;;
  *) echo 'some rows'; echo 'cuda: no device' >&2; exit 70 ;;
esac
"""


class Scripts(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.out = self.folder / "out"
        for made in ("tools", "out", "tmp", ".gpu", "packed"):
            (self.folder / made).mkdir()
        shutil.copytree(ROOT / "tools/gpu", self.folder / "tools/gpu")
        self.write_checkpoint_of("made")  # and not 16 GB

    def write_checkpoint_of(self, content, then=""):
        """The place of the files is told in tmp/checkpoint."""
        (self.folder / "tools/gpu/make_checkpoint.py").write_text(f"""import os, pathlib, sys
pathlib.Path(os.environ["TMPDIR"], "checkpoint").write_text(sys.argv[1])
pathlib.Path(sys.argv[1], "config.json").write_text({content!r})
{then}
""")

    def pack(self, text=FAKE, name="headgate"):
        binary = self.folder / "packed" / name
        binary.write_text(text)
        binary.chmod(0o755)
        with tarfile.open(self.folder / ".gpu/binaries.tar.xz", "w:xz") as archive:
            archive.add(self.folder / "packed", ".")

    def run_bash(self, command):
        environment = dict(os.environ, OUT=str(self.out), TMPDIR=str(self.folder / "tmp"))
        return subprocess.run(["bash", "-c", command], cwd=self.folder, env=environment,
                              capture_output=True, text=True, timeout=60)

    def read(self, name):
        return json.loads((self.out / name).read_text())

    def test_what_is_no_json_or_fails_is_named_and_the_rest_reported(self):
        self.pack()
        ended = self.run_bash("tools/gpu/bench.sh abc")
        self.assertEqual(ended.returncode, 1, ended.stderr)
        report = self.read("gpu_bench.json")
        self.assertEqual(report["commit"], "abc")
        self.assertEqual(report["rows"], {"copy": [{"tb_per_s": 4.5}]})
        self.assertIn("failed: rows layer sample", ended.stderr)
        failures = (self.out / "gpu_bench.failures.txt").read_text()
        self.assertIn("=== rows: its output is no JSON", failures)
        self.assertIn("a line before", failures)
        self.assertIn("=== sample: exit 70", failures)
        self.assertIn("--- sample.out\nsome rows\n--- sample.err\ncuda: no device\n", failures)
        self.assertEqual(len(list(self.out.iterdir())), 2)  # 8 files come back from the machine

    def test_the_report_is_there_after_each_measurement(self):
        self.pack()
        self.run_bash("""source tools/gpu/measure.sh
            begin_report here abc r.json
            measure one "$headgate" bench copy
            cp "$OUT/r.json" "$OUT/first.json"
            measure two "$headgate" bench step --ranks 2
            kill -KILL $$""")
        self.assertEqual(list(self.read("first.json")["rows"]), ["one"])
        self.assertEqual(list(self.read("r.json")["rows"]), ["one", "two"])

    def test_a_start_from_files_leaves_none_behind(self):
        self.pack("#!/bin/sh\ncat $4/config.json\n")
        place = self.folder / "tmp/checkpoint"
        for then, code in (("", 0), ("sys.exit(1)", 1), ("os.kill(os.getppid(), 15)", -15)):
            self.write_checkpoint_of("[1]", then)
            ended = self.run_bash("exec tools/gpu/startup_files.sh")
            self.assertEqual((ended.returncode, ended.stdout), (code, "" if code else "[1]"))
            made = pathlib.Path(place.read_text())
            place.unlink()
            self.assertEqual(made.parent, pathlib.Path("/dev/shm"))
            self.assertFalse(made.exists())

    def test_ratios_of_what_was_measured(self):
        self.pack()
        self.run_bash("tools/gpu/two_ranks.sh abc")
        self.assertEqual(self.read("two_ranks.json")["ratios"],
                         {"decode_1x1k": 1.5, "decode_64x1k": None, "decode_16x32k": 1.5})
        self.assertIn(self.read("two_ranks.json")["seconds"], range(60))

    def test_vllm_is_joined_of_its_parts_and_reported_beside_ours(self):
        kit = self.folder / ".cache/vllm"
        for part in ("0", "1"):
            (kit / part).mkdir(parents=True)
            (kit / part / "kit.sha256").write_text("of the whole kit")
            (kit / part / f"kit.{part}").write_text(part)
        (kit / "unpack.sh").write_text('cat "$1/kit.0" "$1/kit.1" >"$1/both"; : >"$1/env.sh"')
        (kit / "bench.py").write_text("""import pathlib, sys
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
assert (out.parent / "kit/both").read_text() == "01"
out.write_text('{"name": "decode_1x1k", "tok_s": 100.0}\\n')
""")
        ended = self.run_bash("tools/gpu/vllm_compare.sh vllm && tools/gpu/vllm_compare.sh report abc")
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertRegex(ended.stdout, r"decode 1 x 1K +100\.0")
        self.assertEqual(self.read("vllm_compare.json")["vllm"]["decode_1x1k"]["tok_s"], 100.0)

    def test_a_part_that_was_cut_is_left_out(self):
        parts = self.folder / "parts"
        parts.mkdir()
        (parts / "whole.json").write_text("[1]")
        (parts / "cut.json").write_text('[{"us": 1')
        ended = self.run_bash("python3 tools/gpu/report.py parts here abc out/r.json")
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertIn("cut.json is left out", ended.stderr)
        self.assertEqual(self.read("r.json")["rows"], {"whole": [1]})

    def test_what_steps_took_is_counted_from_the_last_call(self):
        page, state = self.folder / "page", self.folder / "state"
        show = f"python3 tools/gpu/step_times.py file://{page} {state}"
        text = ('headgate_step_seconds_sum{model_name="a",kind="decode"} %s\n'
                'headgate_step_seconds_bucket{model_name="a",kind="decode",le="1"} 9\n'
                'headgate_step_seconds_count{model_name="a",kind="decode"} %s\n'
                'headgate_step_phase_seconds_total{model_name="a",phase="device"} 0.5\n')
        for counters, took in (((1.5, 3), {"sum": 1.5, "count": 3}),
                               ((2.0, 7), {"sum": 0.5, "count": 4}),
                               ((0.25, 1), {"sum": 0.25, "count": 1})):  # a new server
            page.write_text(text % counters)
            told = json.loads(self.run_bash(show).stdout)
            self.assertEqual(told["decode"], took)
        self.assertEqual(told["phases"], {"device": 0.5})

    def test_an_archive_is_unpacked_once_and_another_beside_it(self):
        show = 'source tools/gpu/env.sh && stat -c "%i %n" "$gpu_bin/headgate"'
        self.pack()
        first, again = self.run_bash(show).stdout, self.run_bash(show).stdout
        self.assertIn("/tmp/headgate_gpu/", first)
        self.assertEqual(first, again)
        self.pack(FAKE + "# changed\n")
        self.assertNotEqual(first, self.run_bash(show).stdout)

    def test_an_archive_that_was_cut_ends_the_script(self):
        self.pack()
        archive = self.folder / ".gpu/binaries.tar.xz"
        archive.write_bytes(archive.read_bytes()[:100])
        ended = self.run_bash("tools/gpu/run_tests.sh")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("cannot be unpacked", ended.stderr)
        self.assertEqual(list((self.folder / "tmp/headgate_gpu").iterdir()), [])

    def sanitize(self, said):
        self.pack(name="any_test")
        tool = self.folder / "tmp/compute-sanitizer"
        tool.write_text("#!/bin/sh\n" + said)
        tool.chmod(0o755)
        return self.run_bash('PATH="$TMPDIR:$PATH" && cd tools && gpu/sanitize.sh memcheck racecheck')

    def test_what_the_sanitizers_find_is_named(self):
        passed = "echo '[  PASSED  ] 3 tests.'; "
        clean = self.sanitize(passed)
        self.assertEqual(clean.returncode, 0, clean.stdout + clean.stderr)
        self.assertRegex(clean.stdout, r"racecheck +any_test +exit 0, \d+ s, 3 tests\n")
        self.assertIn("nothing found", clean.stdout)
        for wrong in (passed + "exit 9", "true", passed + "echo '=== ERROR SUMMARY: 2 errors'",
                      '[ "$2" = memcheck ] || exit 1; ' + passed):
            found = self.sanitize(wrong)
            self.assertEqual(found.returncode, 1, wrong)
            self.assertIn("findings or failures", found.stdout)

    def test_a_sanitizer_that_leaves_all_out_says_so(self):
        self.pack(name="model_gpu_test")
        ended = self.run_bash("tools/gpu/sanitize.sh initcheck")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("nothing to run", ended.stderr)

    def test_what_was_not_packed_is_named(self):
        self.pack()
        for script in ("run_tests.sh some_test", "sanitize.sh"):
            ended = self.run_bash("tools/gpu/" + script)
            self.assertEqual(ended.returncode, 1)
            self.assertIn("run tools/gpu/pack.sh", ended.stderr)


if __name__ == "__main__":
    unittest.main()
