"""A run over many files: which count, that a kill changes nothing, and that a place that fails is tried again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from multigraft.converters import urls
from multigraft.converters.fleet.engines import engine_of, in_process
from multigraft.converters.fleet.gathering import Gathering, Wanted, gather
from multigraft.converters.fleet.parts import Job, Part, Rules, batched
from multigraft.converters.job.progress import silent
from multigraft.converters.urls import Entry, UnreachableError
from multigraft.errors import InputError, UsageError
from multigraft.statistics import statistics_file
from multigraft.statistics.release import Release
from multigraft.statistics.statistics import Statistics
from tests.converters.fleet.fleet_files import BROKEN, content, site, with_manifest

SITES = range(24)
NO_FLEET = "fleet: takes multigraft[fleet] and moto[server,s3]"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    for number in SITES:
        (made / f"{number:02}.mgstats").write_bytes(content(number))
    return made


def run(folder: Path, wanted: Wanted | None = None) -> Gathering:
    return gather(wanted or Wanted((str(folder),)), folder.parent / "sum.combining", in_process, silent)


def whole(gathering: Gathering) -> bytes:
    with gathering.store:
        ((_, fleet),) = gathering.sums()
        data = statistics_file.to_bytes(fleet.coalesced())
    gathering.store.remove()
    return data


def reasons(gathering: Gathering) -> dict[str, str]:
    return {Path(url).name: reason for url, reason in gathering.counted.aside.items()}


def test_the_sum_is_that_of_the_files(folder: Path) -> None:
    expected = Statistics.merge(site(0), site(1))
    for number in SITES[2:]:
        expected = expected.merge(site(number))
    assert whole(run(folder)) == statistics_file.to_bytes(expected.coalesced())
    assert sorted(p.name for p in folder.parent.iterdir()) == ["in"]


def test_of_a_store_the_newest_release_counts_and_once(folder: Path) -> None:
    plain = whole(run(folder))
    (folder / "copy.mgstats").write_bytes(content(3))
    (folder / "a-newer.mgstats").write_bytes(content(5, release=2))
    gathering = run(folder)
    said = reasons(gathering)
    assert set(said) == {"05.mgstats", "copy.mgstats"} and gathering.counted.summed == len(SITES)
    assert "outdated: release 1 of store" in said["05.mgstats"] and "the same as" in said["copy.mgstats"]
    newer = whole(gathering)
    assert newer != plain
    (folder / "05.mgstats").unlink()
    assert whole(run(folder)) == newer


def test_an_older_release_counts_where_the_newest_is_broken(folder: Path) -> None:
    plain = whole(run(folder))
    newer = content(5, release=2)
    (folder / "newer.mgstats").write_bytes(newer[:-3000] + bytes(100) + newer[-2900:])
    gathering = run(folder)
    assert set(reasons(gathering)) == {"newer.mgstats"} and whole(gathering) == plain


def test_a_copied_store_and_a_sum_that_holds_a_store_are_named(folder: Path) -> None:
    copied = site(99, name="twin")
    copied.releases = {f"{7:016x}": Release(1, copied.frames)}
    (folder / "twin.mgstats").write_bytes(statistics_file.to_bytes(copied))
    both = site(0).merge(site(1))
    (folder / "both.mgstats").write_bytes(statistics_file.to_bytes(both))
    said = reasons(run(folder))
    twin = said.get("twin.mgstats") or said["07.mgstats"]
    assert "the store was copied" in twin
    assert all(
        "both.mgstats" in said[name] and "holds frames of store" in said[name] for name in ("00.mgstats", "01.mgstats")
    )


def test_broken_files_are_named_and_no_other(folder: Path) -> None:
    plain = whole(run(folder))
    for number, make in enumerate(BROKEN.values()):
        (folder / f"x{number}.mgstats").write_bytes(make(500 + number))
    gathering = run(folder)
    assert set(reasons(gathering)) == {f"x{number}.mgstats" for number in range(len(BROKEN))}
    assert all(reasons(gathering).values()) and whole(gathering) == plain


def test_names_and_content_that_nothing_can_hold_are_named(folder: Path) -> None:
    plain = whole(run(folder))
    (folder / os.fsdecode(b"\xff.mgstats")).write_bytes(content(70))
    (folder / "of no place.mgstats").write_bytes(with_manifest(content(71), places=[]))
    (folder / "of more frames.mgstats").write_bytes(with_manifest(content(72), frames=97, releases={}))
    gathering = run(folder)
    assert set(reasons(gathering)) == {"\\udcff.mgstats", "of no place.mgstats", "of more frames.mgstats"}
    assert "is no text" in reasons(gathering)["\\udcff.mgstats"] and whole(gathering) == plain


def test_folders_behind_links_count_once_and_links_that_lead_nowhere_are_named(folder: Path) -> None:
    plain = whole(run(folder))
    disk = folder.parent / "disk"
    disk.mkdir()
    for number in (3, 4, 5):
        (folder / f"{number:02}.mgstats").rename(disk / f"{number:02}.mgstats")
    (folder / "disk").symlink_to(disk)
    (disk / "round").symlink_to(folder)
    (folder / "gone").symlink_to("no disk")
    gathering = run(folder)
    assert reasons(gathering) == {"gone": "it is a link that leads nowhere"}
    assert gathering.counted.summed == len(SITES) and whole(gathering) == plain


def test_the_output_of_the_run_before_counts_only_where_it_is_named(folder: Path) -> None:
    plain = whole(run(folder))
    output = str(folder / "fleet.mgstats")
    Path(output).write_bytes(plain)
    wanted = Wanted((str(folder), str(folder / "*")), output=output)
    (folder / "03.mgstats").write_bytes(content(3, release=2))
    gathering = run(folder, wanted)
    assert gathering.counted.files == gathering.counted.summed == len(SITES) and whole(gathering) != plain
    assert whole(run(folder, Wanted((output,), output=output))) == plain
    (folder / "fleet").mkdir()
    Path(output).rename(folder / "fleet" / "site-00001.mgstats")
    gathering = run(folder, Wanted((str(folder),), output=str(folder / "fleet")))
    assert gathering.counted.files == len(SITES) and whole(gathering) != plain


def test_sums_are_kept_apart_by_site_and_day_and_files_are_left_out(folder: Path) -> None:
    for number in (0, 1):
        late = site(number, day="2026-11-06")
        late.releases = {f"{1000 + number:016x}": Release(1, late.frames)}
        (folder / f"late-{number}.mgstats").write_bytes(statistics_file.to_bytes(late))
    gathering = run(folder, Wanted((str(folder),), ("site-0001*", "*/20.mgstats"), ("site", "day")))
    with gathering.store:
        sums = dict(gathering.sums())
    assert gathering.counted.excluded == 11 and len(sums) == 13 + 2
    assert {day for _, day in sums["site-00000 2026-11-06"].places} == {"2026-11-06"}
    by_day = run(folder, Wanted((str(folder),), (), ("day",)))
    with by_day.store:
        assert {key: fleet.frames for key, fleet in by_day.sums()} == {"2026-11-05": 24 * 96, "2026-11-06": 2 * 96}


def test_a_run_that_was_interrupted_anywhere_goes_on_to_the_same(folder: Path) -> None:
    expected = whole(run(folder))
    drawn = random.Random(1)

    class KilledError(Exception):
        pass

    for _ in range(6):
        left = drawn.randrange(1, 5)

        def dying(chunks: Iterable[tuple[Job, ...]], rules: Rules) -> Iterator[Part]:
            jobs = [job for chunk in chunks for job in chunk]
            drawn.shuffle(jobs)
            for number, part in enumerate(in_process(batched(iter(jobs), 4), rules)):
                if number == left:  # noqa: B023
                    raise KilledError
                yield part

        with pytest.raises(KilledError):
            gather(Wanted((str(folder),)), folder.parent / "sum.combining", dying, silent)
        gathering = run(folder)
        assert gathering.counted.reused == 4 * left and whole(gathering) == expected


def test_a_file_that_changed_since_the_interruption_is_seen(folder: Path) -> None:
    def never(chunks: Iterable[tuple[Job, ...]], rules: Rules) -> Iterator[Part]:
        yield next(in_process(chunks, rules))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gather(Wanted((str(folder),)), folder.parent / "sum.combining", never, silent)
    (folder / "03.mgstats").write_bytes(content(3, release=2))
    gathering = run(folder)
    assert gathering.counted.reused == 0
    changed = whole(gathering)
    assert changed == whole(run(folder))


def test_what_could_not_be_read_before_an_interruption_is_not_outdated_after_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = folder / "newest.mgstats"
    newest.write_bytes(content(3, release=2))
    expected = whole(run(folder))
    read = urls.read

    def failing(url: str, most: int, size: int | None = None) -> bytes:
        if url == str(newest):
            raise UnreachableError("reset by peer", "try again")
        return read(url, most, size)

    def killed(chunks: Iterable[tuple[Job, ...]], rules: Rules) -> Iterator[Part]:
        for part in in_process(chunks, rules):
            yield part
            if any(url.endswith("03.mgstats") for url in part.form_of):
                raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(urls, "read", failing)
        gather(Wanted((str(folder),)), folder.parent / "sum.combining", killed, silent)
    gathering = run(folder)
    assert set(reasons(gathering)) == {"03.mgstats"} and whole(gathering) == expected


@pytest.mark.parametrize("late", range(4))
def test_heads_that_are_readable_after_an_interruption_have_their_say(
    folder: Path, monkeypatch: pytest.MonkeyPatch, late: int
) -> None:
    """Which networks most files are of, as if nothing had failed."""
    for path in sorted(folder.iterdir())[:14]:
        path.unlink()
    others = [BROKEN["other networks"](100 + number) for number in range(12)]
    for number, data in enumerate(others):
        (folder / f"a{number:02}.mgstats").write_bytes(data)
    unreadable = {str(folder / f"a{number:02}.mgstats") for number in range(12)}
    expected = whole(run(folder))
    read = urls.read_start

    def failing(entry: Entry, count: int) -> bytes:
        if entry.url in unreadable:
            raise UnreachableError("reset by peer", "try again")
        return read(entry, count)

    def killed(chunks: Iterable[tuple[Job, ...]], rules: Rules) -> Iterator[Part]:
        for number, part in enumerate(in_process(batched((job for c in chunks for job in c), 1), rules)):
            if number == late:
                raise KeyboardInterrupt
            yield part

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(urls, "read_start", failing)
        gather(Wanted((str(folder),)), folder.parent / "sum.combining", killed, silent)
    gathering = run(folder)
    assert gathering.counted.summed == 12 and whole(gathering) == expected


def test_what_a_run_leaves_is_for_its_owner_alone(folder: Path) -> None:
    with run(folder).store:
        left = list(folder.parent.glob("sum.combining*"))
        assert len(left) >= 2 and not any(path.stat().st_mode & 0o077 for path in left)


def test_a_damaged_store_is_named_with_a_remedy(folder: Path) -> None:
    def killed(chunks: Iterable[tuple[Job, ...]], rules: Rules) -> Iterator[Part]:
        yield next(in_process(chunks, rules))
        raise KeyboardInterrupt

    store = folder.parent / "sum.combining"
    with pytest.raises(KeyboardInterrupt):
        gather(Wanted((str(folder),)), store, killed, silent)
    page = 4096
    store.write_bytes(store.read_bytes()[: 4 * page] + bytes(store.stat().st_size - 4 * page))
    with pytest.raises(UsageError, match="from which the next run goes on"):
        run(folder)


def test_two_runs_at_one_output_and_places_without_files_are_refused(folder: Path) -> None:
    gathering = run(folder)
    with gathering.store, pytest.raises(UsageError, match="used by another process"):
        run(folder)
    with pytest.raises(InputError, match="names no file"):
        run(folder, Wanted((str(folder / "*.nothing"),)))
    with pytest.raises(UsageError, match="names no engine"):
        engine_of("spark")


def test_a_killed_worker_of_dask_costs_only_its_part(folder: Path) -> None:
    psutil = pytest.importorskip("psutil", reason=NO_FLEET)
    pytest.importorskip("distributed", reason=NO_FLEET)
    expected = whole(run(folder))
    inner = engine_of("dask")

    def killing(chunks: Iterable[tuple[Job, ...]], rules: Rules) -> Iterator[Part]:
        jobs = [job for chunk in chunks for job in chunk]
        for number, part in enumerate(inner(batched(iter(jobs), 3), rules)):
            if not number:
                workers = [
                    p for p in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(p.cmdline())
                ]
                os.kill(max(workers, key=lambda p: p.memory_info().rss).pid, signal.SIGKILL)
            yield part

    gathering = gather(Wanted((str(folder),)), folder.parent / "sum.combining", killing, silent)
    assert not gathering.counted.aside and whole(gathering) == expected


def test_one_read_in_ten_that_fails_and_a_kill_change_nothing(folder: Path) -> None:
    """In a process of its own: clients of S3 take their address when they are made."""
    pytest.importorskip("s3fs", reason=NO_FLEET)
    pytest.importorskip("moto", reason=NO_FLEET)
    command = [sys.executable, "-m", "tests.converters.fleet.over_s3", str(folder)]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "failed and the same" in done.stdout
