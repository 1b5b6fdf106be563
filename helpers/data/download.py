"""Fetches HAM10000 and ISIC 2019 from their publishers: `python -m helpers.data.download ham10000`.

Files arrive and are unpacked in `download/` inside the dataset's folder; only what is whole and checked moves from
there to its place, by renaming. A run that was cut short goes on where it stopped. Zips that somebody put into the
folder by hand are checked and unpacked in the same way, and left where they are.
"""

import argparse
import shutil
import stat
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import pooch
import requests
from tqdm import tqdm

from helpers.study import ROOT, StudyError

SCRATCH = "download"
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png"}
# Harvard's firewall answers 403 to the default name of Python's HTTP libraries (IQSS/dataverse.harvard.edu#479); a
# compressed answer would make byte ranges and sizes meaningless.
HEADERS = {"User-Agent": "skin-lesion-study/0.1", "Accept-Encoding": "identity"}
BLOCK = 1 << 16  # bytes read at once
LARGEST_RATIO = 100  # unpacked to packed size: pictures, compressed already, stay near 1, deflated zeros reach 1000


@dataclass(frozen=True)
class Original:
    """One file as its publisher serves it.

    size: bytes. checksum: `algorithm:hexadecimal digits`. count: images in a zip, rows in a table. aliases: other
    names under which the same table may lie in the folder.
    """

    name: str
    url: str
    size: int
    checksum: str
    count: int
    aliases: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Name in the dataset's folder: a table's own, or that of the folder a zip is unpacked to."""
        return self.name.removesuffix(".zip")


@dataclass(frozen=True)
class Source:
    """A publisher. page: where a person can download the files. timeout: seconds of silence before giving up.

    retries: further attempts for one file, after a wait of 1, 2, 3 … seconds.
    """

    page: str
    originals: tuple[Original, ...]
    timeout: float = 30
    retries: int = 5


DATAVERSE = "https://dataverse.harvard.edu/api/access/datafile"
CHALLENGE = "https://isic-challenge-data.s3.amazonaws.com/2019"
SOURCES = {
    # Sizes and MD5 as Dataverse lists them for version 4.0 of doi:10.7910/DVN/DBW86T. Dataverse serves tables in a
    # form of its own, while the MD5 in its list is that of the file as uploaded: hence format=original.
    "ham10000": Source(
        "https://dataverse.harvard.edu/dataset.xhtml?persistentId=doi:10.7910/DVN/DBW86T",
        (
            Original(
                "HAM10000_metadata.csv",
                f"{DATAVERSE}/4338392?format=original",
                690_218,
                "md5:8f85fb1aa29d80a2797247e434deb79d",
                10_015,
                ("HAM10000_metadata", "HAM10000_metadata.tab"),
            ),
            Original(
                "HAM10000_segmentations_lesion_tschandl.zip",
                f"{DATAVERSE}/3838943",
                10_808_743,
                "md5:6e8d252e09cfdb0189199f15985a5b84",
                10_015,
            ),
            Original(
                "HAM10000_images_part_1.zip",
                f"{DATAVERSE}/3172585",
                1_366_522_108,
                "md5:4639bfa73ab251610530a97c898e6e46",
                5_000,
            ),
            Original(
                "HAM10000_images_part_2.zip",
                f"{DATAVERSE}/3172584",
                1_403_566_547,
                "md5:da43d6cc50f6613013be07e8986b384b",
                5_015,
            ),
        ),
    ),
    # ISIC publishes no checksums. These SHA-256 are what two studies independent of each other report for their
    # downloads from this address, so they say that a file is the one others used, not that ISIC vouches for it.
    "isic2019": Source(
        "https://challenge.isic-archive.com/data/#2019",
        (
            Original(
                "ISIC_2019_Training_GroundTruth.csv",
                f"{CHALLENGE}/ISIC_2019_Training_GroundTruth.csv",
                1_291_479,
                "sha256:aa88e9638fe4df9ef330dc4ba22fa4bd475c44af692fffb870c73091ab25cdcd",
                25_331,
            ),
            Original(
                "ISIC_2019_Training_Metadata.csv",
                f"{CHALLENGE}/ISIC_2019_Training_Metadata.csv",
                1_214_351,
                "sha256:d93994a8ed201d474de9a7af7e17ec30929cbc4a5220659ecbde17cbe83e9316",
                25_331,
            ),
            Original(
                "ISIC_2019_Training_Input.zip",
                f"{CHALLENGE}/ISIC_2019_Training_Input.zip",
                9_771_618_190,
                "sha256:5075020b720c8f1b9b7f3ff85326c55ce0435e5906c41fbd338994feef886df1",
                25_331,
            ),
        ),
    ),
}


class Refused(Exception):
    """The server answered, but not with the file: asking again would not help."""


def fetch(dataset: str, folder: Path, sources: dict[str, Source] = SOURCES) -> Path:
    """Complete `folder` with a dataset's originals in their publisher's layout; returns the folder, made absolute.

    What is there already is not fetched again. Raises StudyError, with the page and the folder for a download by hand,
    if a file cannot be had; also for an unknown dataset, too little room, or files that are not the publisher's.
    """
    if dataset not in sources:
        fault = "its pictures are drawn, not downloaded" if dataset == "demo" else f"unknown dataset {dataset!r}"
        raise StudyError(f"{fault}. To download: {', '.join(sources)}.")
    source, folder = sources[dataset], Path(folder).expanduser().resolve()
    try:
        missing = [original for original in source.originals if not _is_there(original, folder)]
        if missing:
            (folder / SCRATCH).mkdir(parents=True, exist_ok=True)
            _check_room(folder, _bytes_to_come(missing, folder))
            for original in missing:
                _obtain(original, source, folder)
            shutil.rmtree(folder / SCRATCH)
    except OSError as error:
        raise StudyError(f"{folder}: {error}. See that this folder can be written, or choose another.") from error
    return folder


def _is_there(original: Original, folder: Path) -> bool:
    """Whether an original is in its place. Raises StudyError if it is there in part: somebody else put it there."""
    for path in (folder / name for name in (original.place, *original.aliases)):
        if path.exists():
            found, kind = _count(path), "images" if path.is_dir() else "rows"
            if found != original.count:
                fault = f"{path}: {found:,} {kind} in place of {original.count:,}"
                raise StudyError(f"{fault}. Complete it, or move it away to have it fetched again.")
            return True
    return False


def _count(path: Path) -> int:
    """Images in a folder, or rows of a table without its header."""
    if path.is_dir():
        return sum(file.suffix.lower() in IMAGE_SUFFIXES and file.name[0] != "." for file in path.iterdir())
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip()) - 1


def _bytes_to_come(missing: list[Original], folder: Path) -> int:
    """Room needed at most: all pictures, which a zip hardly makes smaller, beside the largest zip to download."""
    remote = [original for original in missing if not (folder / original.name).exists()]
    arrived = sum(_size(folder / SCRATCH / f"{original.name}{end}") for original in remote for end in ("", ".part"))
    return sum(original.size for original in missing) + max((file.size for file in remote), default=0) - arrived


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        fault = f"{folder}: {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free"
        raise StudyError(f"{fault}. Make room, or choose a folder on another disk.")


def _obtain(original: Original, source: Source, folder: Path) -> None:
    """Bring one original to its place, from a zip put into the folder by hand or from its publisher."""
    by_hand = folder / original.name
    if by_hand.exists():
        _check_by_hand(by_hand, original, source)
        _unpack(by_hand, original, folder)
        return
    arrived = _download(original, source, folder)
    if arrived.suffix == ".zip":
        _unpack(arrived, original, folder)
        arrived.unlink()
    else:
        arrived.replace(folder / original.place)


def _check_by_hand(path: Path, original: Original, source: Source) -> None:
    algorithm, _, digest = original.checksum.partition(":")
    if _size(path) != original.size:
        fault = f"{_size(path):,} bytes in place of {original.size:,}"
    elif pooch.file_hash(str(path), alg=algorithm) != digest:
        fault = f"its {algorithm} is not {digest}"
    else:
        return
    raise StudyError(f"{path}: not the file of {source.page} ({fault}). Remove it, and run the same command again.")


def _download(original: Original, source: Source, folder: Path) -> Path:
    """Fetch one original into the scratch folder, checked. Raises StudyError if it cannot be had."""
    store = pooch.create(
        path=folder / SCRATCH,
        base_url="",
        registry={original.name: original.checksum},
        urls={original.name: original.url},
        retry_if_failed=source.retries,
    )
    try:
        return Path(store.fetch(original.name, downloader=ResumingDownloader(original, source.timeout)))
    except (Refused, requests.RequestException, ValueError) as error:
        fault = f"{original.url} could not be fetched: {_reason(error)}"
        raise StudyError(f"{fault}\n{_how_by_hand(source, folder)}") from error


def _reason(error: Exception) -> str:
    """One line; what `requests` says of a broken connection is a nest of class names."""
    if isinstance(error, requests.RequestException) and not isinstance(error, requests.HTTPError):
        return f"no connection, or it broke off or stalled ({type(error).__name__})."
    return f"{str(error).rstrip('.')}."


def _how_by_hand(source: Source, folder: Path) -> str:
    wanted = [file for file in source.originals if not (folder / file.name).exists() and not _is_there(file, folder)]
    names = [" or ".join((file.name, *file.aliases)) for file in wanted]
    return (
        "Run the same command again to go on with what has arrived. If that does not help, open\n"
        f"  {source.page}\nin a browser, sign in or accept the terms if asked, download\n  "
        + "\n  ".join(names)
        + f"\ninto\n  {folder}\nand run the same command: it unpacks the zips."
    )


class ResumingDownloader:
    """A downloader for pooch that keeps what has arrived in `<name>.part` and asks the server for the rest only.

    Raises Refused if the server's answer is not the file, ValueError if it has another size than `original`, and the
    exceptions of `requests`; pooch tries again after the latter two.
    """

    def __init__(self, original: Original, timeout: float):
        self.original = original
        self.timeout = timeout

    def __call__(self, url: str, output_file: str, store: pooch.Pooch | None) -> None:
        part = Path(output_file).with_name(f"{self.original.name}.part")
        if _size(part) > self.original.size:
            part.unlink()
        if _size(part) < self.original.size:
            self._receive(url, part)
        if _size(part) != self.original.size:
            raise ValueError(f"{_size(part):,} bytes in place of {self.original.size:,}")
        part.replace(output_file)

    def _receive(self, url: str, part: Path) -> None:
        start = _size(part)
        headers = HEADERS | ({"Range": f"bytes={start}-"} if start else {})
        with requests.get(url, headers=headers, stream=True, timeout=self.timeout) as response:
            _check_answer(response)
            resumed = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
            if response.status_code == 206 and not resumed:
                part.unlink(missing_ok=True)
                raise ValueError("the server sent another part of the file than the one asked for")
            bar = tqdm(desc=part.stem, initial=start * resumed, total=self.original.size, unit="B", unit_scale=True)
            with bar, part.open("ab" if resumed else "wb") as file:
                for block in response.iter_content(BLOCK):
                    bar.update(file.write(block))
                    if file.tell() > self.original.size:
                        break


def _check_answer(response: requests.Response) -> None:
    """Raise HTTPError if asking again may help, Refused if the answer is something else than a file."""
    status, kind = response.status_code, response.headers.get("Content-Type", "")
    if status in (408, 429) or status >= 500:
        response.raise_for_status()
    if status not in (200, 206):
        raise Refused(f"the server refuses it ({status} {response.reason})")
    if kind.startswith("text/html"):
        raise Refused("the server shows a page instead, to sign in or to accept terms")


def _unpack(archive: Path, original: Original, folder: Path) -> None:
    """Unpack a zip's files, flat, to their place. Raises StudyError if it is damaged, unsafe, or not complete."""
    unpacked = folder / SCRATCH / original.place
    shutil.rmtree(unpacked, ignore_errors=True)
    unpacked.mkdir()
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = _safe_members(zipped, original)
            _check_room(folder, sum(member.file_size for member in members.values()))
            for name, member in tqdm(members.items(), f"unpacking {original.name}", unit="file"):
                with zipped.open(member) as packed, (unpacked / name).open("wb") as file:
                    shutil.copyfileobj(packed, file)
        if _count(unpacked) != original.count:
            raise zipfile.BadZipFile(f"{_count(unpacked):,} images in place of {original.count:,}")
        unpacked.rename(folder / original.place)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
        raise StudyError(f"{archive}: cannot be unpacked, {error}. Remove it, and run the same command.") from error
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def _safe_members(zipped: zipfile.ZipFile, original: Original) -> dict[str, zipfile.ZipInfo]:
    """A zip's files by name, without the folders they are in and without what macOS adds.

    Raises BadZipFile for names that lead elsewhere, links, two files of one name, and zips that swell beyond measure.
    """
    infos, members = zipped.infolist(), {}
    swollen = sum(info.file_size for info in infos) > LARGEST_RATIO * _size(Path(zipped.filename))
    if swollen or len(infos) > 3 * original.count + 100:
        raise zipfile.BadZipFile("it would unpack to far more than such pictures take")
    for info in infos:
        path = PureWindowsPath(info.filename)  # splits at both kinds of slash, and knows drives
        if path.anchor or ".." in path.parts:
            raise zipfile.BadZipFile(f"{info.filename!r} leads out of its folder")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise zipfile.BadZipFile(f"{info.filename!r} is a link")
        if info.is_dir() or "__MACOSX" in path.parts or path.name.startswith("."):
            continue
        if members.setdefault(path.name, info) is not info:
            raise zipfile.BadZipFile(f"{path.name!r} is in it twice")
    return members


def main(arguments: list[str] | None = None, sources: dict[str, Source] = SOURCES) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.data.download", description="Fetch a dataset's original files."
    )
    parser.add_argument("dataset", help=" or ".join(sources))
    parser.add_argument("--folder", type=Path, help="where to put them (default: data/DATASET)")
    options = parser.parse_args(arguments)
    try:
        folder = fetch(options.dataset, options.folder or ROOT / "data" / options.dataset, sources)
    except StudyError as error:
        print(f"{options.dataset}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n{options.dataset}: stopped. Run the same command to go on with what has arrived.", file=sys.stderr)
        return 130
    images = sum(len(list((folder / file.place).glob("*.jpg"))) for file in sources[options.dataset].originals)
    print(f"{options.dataset}: complete in {folder}, {images:,} images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
