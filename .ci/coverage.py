#!/usr/bin/env python3
"""Runs the test suite with coverage counters, shows line coverage by file and refuses what is below .ci/coverage.toml.

    .ci/coverage.py            run the suite, then report
    .ci/coverage.py report     report on the last run
    .ci/coverage.py tools      only find or install llvm-profdata and llvm-cov

Processes that tests start are counted too; one that was killed leaves no counts. Lines of test modules count for nothing.
"""

import collections
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
CORE = "adsengineer-core/src"
TEST = "cargo test --workspace --all-features --locked"

Row = collections.namedtuple("Row", "file kind lines missed gate")


def main(task):
    os.chdir(ROOT)
    tools = llvm_tools()
    if task == "tools":
        return 0
    output = target_dir() / "coverage"
    failed = 0 if task == "report" else run_tests(output)
    counts = line_counts(tools, output)
    config = tomllib.loads((ROOT / ".ci/coverage.toml").read_text())
    rows = table(counts, config)
    show(rows)
    complaints = judge(rows, config, counts)
    for complaint in complaints:
        print(f"coverage: {complaint}")
    if failed:
        print("coverage: the test run failed")
    elif not complaints:
        print("coverage: every gate is met")
    return 1 if failed or complaints else 0


# --- the run


def instrumented(output):
    """The environment that makes cargo build this workspace's crates with counters and the programs write them."""
    return os.environ | {
        "RUSTC_WORKSPACE_WRAPPER": str(ROOT / ".ci/instrument"),
        "LLVM_PROFILE_FILE": str(output / "%p-%m.profraw"),
    }


def run_tests(output):
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    return subprocess.run([*TEST.split(), "--no-fail-fast"], env=instrumented(output)).returncode


def target_dir():
    answer = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version=1", "--locked"], check=True, capture_output=True, text=True
    )
    return pathlib.Path(json.loads(answer.stdout)["target_directory"])


def executables(output):
    """The test programs and binaries of the run, as cargo names them."""
    command = [*TEST.split(), "--no-run", "--message-format=json", "--quiet"]
    answer = subprocess.run(command, env=instrumented(output), check=True, stdout=subprocess.PIPE, text=True)
    messages = (json.loads(line) for line in answer.stdout.splitlines() if line.startswith("{"))
    return sorted({message["executable"] for message in messages if message.get("executable")})


# --- LLVM's tools


def llvm_tools():
    """(llvm-profdata, llvm-cov) that read what this rustc writes; installed from the distribution where missing."""
    version = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    major = int(re.search(r"LLVM version: (\d+)", version)[1])
    host = re.search(r"host: (\S+)", version)[1]
    sysroot = subprocess.run(["rustc", "--print=sysroot"], check=True, capture_output=True, text=True).stdout.strip()
    places = [f"{sysroot}/lib/rustlib/{host}/bin", *(f"/usr/lib/llvm-{n}/bin" for n in candidates(major))]
    found = find_tools(places) or install(major) and find_tools(places)
    if not found:
        sys.exit(
            f"coverage: llvm-profdata and llvm-cov {major} are missing; "
            f"run `rustup component add llvm-tools` or install the package llvm-{major}"
        )
    return found


def candidates(major):
    """Versions that read rustc's counters, best first: raw profiles kept one format from LLVM 19 to 22."""
    return [major, *(n for n in range(22, 18, -1) if n != major)] if 19 <= major <= 22 else [major]


def find_tools(places):
    for place in places:
        pair = [f"{place}/llvm-profdata", f"{place}/llvm-cov"]
        if all(os.access(tool, os.X_OK) for tool in pair):
            return pair
    return None


def install(major):
    if not shutil.which("apt-get"):
        return False
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    quiet = {"stdout": subprocess.DEVNULL, "env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"}}
    subprocess.run([*sudo, "apt-get", "update", "-q"], **quiet)
    for version in candidates(major):
        command = [*sudo, "apt-get", "install", "-qy", "--no-install-recommends", f"llvm-{version}"]
        if subprocess.run(command, **quiet).returncode == 0:
            return True
    return False


# --- from counters to lines


def line_counts(tools, output):
    """{file: {line: times executed}} of the workspace's sources, without the lines of test modules."""
    profdata, cov = tools
    raw = sorted(map(str, output.glob("*.profraw")))
    if raw:
        listing = output / "profiles.txt"
        listing.write_text("\n".join(raw))
        # A process killed while it wrote leaves a torn file: only that one is left out.
        merge = ["merge", "-sparse", "--failure-mode=all", "-f", listing, "-o", output / "all.profdata"]
        subprocess.run([profdata, *merge], check=True)
        for profile in raw:
            os.remove(profile)
    if not (output / "all.profdata").exists():
        sys.exit("coverage: there is no run to report on; run `.ci/coverage.py` first")
    first, *others = executables(output)
    objects = [f"-object={path}" for path in others]
    command = [cov, "export", "-format=lcov", "-skip-functions", f"-instr-profile={output / 'all.profdata'}", first, *objects]
    lcov = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    (output / "lcov.info").write_text(lcov)
    return without_tests(parse_lcov(lcov))


def parse_lcov(text):
    """
    >>> parse_lcov("SF:/a.rs\\nDA:3,1\\nDA:4,0\\nend_of_record\\nSF:/b.rs\\nDA:1,7\\nend_of_record")
    {'/a.rs': {3: 1, 4: 0}, '/b.rs': {1: 7}}
    """
    files = {}
    for line in text.splitlines():
        if line.startswith("SF:"):
            lines = files.setdefault(line[3:], {})
        elif line.startswith("DA:"):
            number, count = line[3:].split(",")[:2]
            lines[int(number)] = max(lines.get(int(number), 0), int(count))
    return files


def without_tests(files):
    sources = {}
    for name, lines in files.items():
        path = pathlib.Path(os.path.normpath(ROOT / name))
        if not path.is_relative_to(ROOT) or "src" not in path.relative_to(ROOT).parts or path.name == "tests.rs":
            continue
        tests = test_lines(path.read_text().splitlines())
        kept = {number: count for number, count in lines.items() if number not in tests}
        if kept:
            sources[str(path.relative_to(ROOT))] = kept
    return sources


def test_lines(lines):
    """The numbers of the lines in `#[cfg(test)] mod … { }` and other items for tests only, as rustfmt lays them out.

    >>> sorted(test_lines(["fn a() {}", "#[cfg(test)]", "mod tests {", "    fn b() {}", "}", "fn c() {}"]))
    [2, 3, 4, 5]
    >>> test_lines(["#[cfg(test)]", "mod tests;", "fn c() {}"])
    set()
    >>> sorted(test_lines(['#[cfg(all(test, feature = "engine"))]', "fn b(", "    c: u8,", ") {", "}", "fn d() {}"]))
    [1, 2, 3, 4, 5]
    """
    found, number = set(), 0
    while number < len(lines):
        start, number = number, number + 1
        if not re.match(r"#\[cfg\((all\()?test\b", lines[start].lstrip()):
            continue
        while number < len(lines) and lines[number].lstrip().startswith("#["):
            number += 1
        if number == len(lines) or lines[number][-1:] not in ("{", "("):
            continue
        indent = lines[start][: len(lines[start]) - len(lines[start].lstrip())]
        while number < len(lines) and lines[number] != indent + "}":
            number += 1
        number += 1
        found.update(range(start + 1, number + 1))
    return found


# --- the gates


def kinds(lib):
    """The modules of the core by the section of lib.rs that declares them.

    >>> kinds("// words\\npub mod money;\\n// rules\\nmod backoff;\\n// doors\\npub mod clock;\\n")
    {'money': 'word', 'backoff': 'rule', 'clock': 'door'}
    """
    found, section = {}, "door"
    for line in lib.splitlines():
        if heading := re.match(r"// (word|rule|door)s\b", line):
            section = heading[1]
        elif module := re.match(r"(?:pub(?:\([a-z]+\))? )?mod (\w+);", line):
            found[module[1]] = section
    return found


def kind_of(file, modules, rule_files):
    """
    >>> [kind_of(f, {"money": "word"}, ["y.rs"]) for f in ("adsengineer-core/src/money/parse.rs", "y.rs", "adsengineer-cli/src/main.rs")]
    ['word', 'rule', 'cli']
    """
    if file in rule_files:
        return "rule"
    crate, _, rest = file.partition("/src/")
    if crate == "adsengineer-core":
        return modules.get(rest.split("/")[0].removesuffix(".rs"), "door")
    return crate.removeprefix("adsengineer-")


def table(counts, config):
    modules = kinds((ROOT / CORE / "lib.rs").read_text())
    rows = []
    for file, lines in sorted(counts.items()):
        kind = kind_of(file, modules, config["rule_files"])
        gate = config["rules"] if kind in ("word", "rule") else config["module"]
        gate = config["middleware"] if file.startswith(tuple(config["middleware_files"])) else gate
        gate = None if len(lines) < config["small"] else gate
        rows.append(Row(file, kind, len(lines), sum(count == 0 for count in lines.values()), gate))
    return rows


def percent(lines, missed):
    """
    >>> percent(3, 1), percent(0, 0)
    (66.66666666666667, 100.0)
    """
    return 100 * (lines - missed) / lines if lines else 100.0


def total(rows):
    return sum(row.lines for row in rows), sum(row.missed for row in rows)


def show(rows):
    width = max([len(row.file) for row in rows] + [8])
    print(f"\n{'file':<{width}}  {'kind':<6} {'lines':>6} {'missed':>6} {'covered':>8}  gate")
    for row in rows:
        gate = f"> {row.gate} %" if row.gate else "-"
        print(f"{row.file:<{width}}  {row.kind:<6} {row.lines:>6} {row.missed:>6} {percent(row.lines, row.missed):>6.1f} %  {gate}")
    for name, chosen in groups(rows):
        lines, missed = total(chosen)
        print(f"{name:<{width}}  {'':<6} {lines:>6} {missed:>6} {percent(lines, missed):>6.1f} %")
    print()


def groups(rows):
    return [("words and rules", [row for row in rows if row.kind in ("word", "rule")]), ("overall", rows)]


def judge(rows, config, counts):
    """What is below its gate, in words.

    >>> config = {"overall": 85, "rules": 90, "pending": {"b.rs": "new", "c.rs": "old"}}
    >>> rows = [Row("a.rs", "rule", 10, 1, 90), Row("b.rs", "door", 10, 9, 80), Row("c.rs", "door", 100, 0, 80)]
    >>> for line in judge(rows, config, {"a.rs": {4: 0, 5: 0, 6: 1, 9: 0}}): print(line)
    a.rs has 90.0 % of its lines covered, not more than 90 %; never run: 4-5, 9
    words and rules: 90.0 % of the lines are covered, not more than 90 %
    """
    complaints, pending = [], config["pending"]
    for row in rows:
        covered = percent(row.lines, row.missed)
        below = row.gate is not None and covered <= row.gate
        if below and row.file not in pending:
            never = ranges(line for line, count in counts.get(row.file, {}).items() if count == 0)
            complaints.append(f"{row.file} has {covered:.1f} % of its lines covered, not more than {row.gate} %; never run: {never}")
    for file in sorted(set(pending) - {row.file for row in rows}):
        complaints.append(f"{file} has no lines that could be covered; take it off [pending] in .ci/coverage.toml")
    for (name, chosen), gate in zip(groups(rows), (config["rules"], config["overall"])):
        covered = percent(*total(chosen))
        if covered <= gate and not any(row.file in pending for row in chosen):
            complaints.append(f"{name}: {covered:.1f} % of the lines are covered, not more than {gate} %")
    return complaints


def ranges(numbers):
    """
    >>> ranges([9, 1, 2, 3, 7])
    '1-3, 7, 9'
    """
    runs = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "run"))
