"""Fetches HAM10000 and ISIC 2019 from their publishers: `python -m helpers.data.download ham10000`.

Files arrive and are unpacked in `download/` inside the dataset's folder. Only what is whole and has the right checksum
moves to its place, by renaming. An interrupted run continues where it stopped. Zips that somebody put into the folder
by hand are checked and unpacked in the same way, and left where they are.
"""

import argparse
import shutil
import sys
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pooch
import requests
from tqdm import tqdm

from helpers.data.lesions import IMAGE_SUFFIXES
from helpers.study import ROOT, StudyError

SCRATCH = "download"
# Harvard's firewall answers 403 to the default name of Python's HTTP libraries (IQSS/dataverse.harvard.edu#479). A
# compressed answer would make byte ranges and sizes meaningless.
HEADERS = {"User-Agent": "skin-lesion-study/0.1", "Accept-Encoding": "identity"}
TIMEOUT = 30  # seconds without a byte before a connection counts as broken
RETRIES = 5  # further attempts for one file, after a wait of 1, 2, 3 … seconds
BLOCK = 1 << 16  # bytes read at once


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
        """Where it belongs in the dataset's folder: the name of the table, or of the folder a zip is unpacked to."""
        return self.name.removesuffix(".zip")


@dataclass(frozen=True)
class Source:
    """A publisher: the page where a person can download the files, and the files."""

    page: str
    originals: tuple[Original, ...]


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
    """The server answered with something else than the file. Asking again would not help."""


def fetch(dataset: str, folder: Path) -> Path:
    """Complete `folder` with a dataset's originals in their publisher's layout; returns its absolute path.

    What is there already is not fetched again. Raises StudyError, with the page and the folder for a download by hand,
    if a file cannot be fetched; also for an unknown dataset, too little disk space, or a file with a wrong checksum.
    """
    if dataset not in SOURCES:
        fault = "the demo is drawn, not downloaded" if dataset == "demo" else f"unknown dataset {dataset!r}"
        raise StudyError(f"{fault}. Choose one of {', '.join(SOURCES)}.")
    folder = Path(folder).expanduser().resolve()
    try:
        if missing := [original for original in SOURCES[dataset].originals if not _is_there(original, folder)]:
            (folder / SCRATCH).mkdir(parents=True, exist_ok=True)
            _check_room(missing, folder)
            for original in missing:
                _place(original, SOURCES[dataset], folder)
            shutil.rmtree(folder / SCRATCH)
    except OSError as error:
        raise StudyError(f"{folder}: {error}. Make this folder writable, or choose another.") from error
    return folder


def _is_there(original: Original, folder: Path) -> bool:
    """Whether an original is in its place. Raises StudyError if only a part of it is there."""
    path = next((folder / name for name in (original.place, *original.aliases) if (folder / name).exists()), None)
    if path is None:
        return False
    if path.is_dir():
        count = sum(file.suffix.lower() in IMAGE_SUFFIXES and file.name[0] != "." for file in path.iterdir())
    else:
        count = sum(1 for line in path.read_bytes().splitlines() if line.strip()) - 1
    if count != original.count:
        fault = f"{path} has {count:,} {'images' if path.is_dir() else 'rows'} instead of {original.count:,}"
        raise StudyError(f"{fault}. Complete it, or move it away so that it is fetched again.")
    return True


def _check_room(missing: list[Original], folder: Path) -> None:
    """Raise StudyError unless all pictures fit on the disk, and the largest zip to download beside them."""
    remote = [original.size for original in missing if not (folder / original.name).exists()]
    arrived = sum(file.stat().st_size for file in (folder / SCRATCH).rglob("*") if file.is_file())
    needed = sum(original.size for original in missing) + max(remote, default=0) - arrived
    free = shutil.disk_usage(folder).free
    if free < needed:
        fault = f"{folder}: {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free"
        raise StudyError(f"{fault}. Free some space, or choose a folder on another disk.")


def _place(original: Original, source: Source, folder: Path) -> None:
    """Put one original into its place, from a zip put into the folder by hand or from its publisher."""
    zipped = folder / original.name
    if zipped.exists():
        if not pooch.hashes.hash_matches(str(zipped), original.checksum):
            fault = f"{zipped}: not the file that {source.page} offers, its checksum is not {original.checksum}"
            raise StudyError(f"{fault}. Remove it, and run the same command again.")
        _unpack(zipped, original, folder)
        return
    arrived = _download(original, source, folder)
    if arrived.suffix == ".zip":
        _unpack(arrived, original, folder)
        arrived.unlink()
    else:
        arrived.replace(folder / original.place)


def _download(original: Original, source: Source, folder: Path) -> Path:
    """Fetch one original into the scratch folder and check it. Raises StudyError if that fails."""
    store = pooch.create(
        path=folder / SCRATCH,
        base_url="",
        registry={original.name: original.checksum},
        urls={original.name: original.url},
        retry_if_failed=RETRIES,
    )
    try:
        return Path(store.fetch(original.name, downloader=partial(_receive, original)))
    except (Refused, requests.HTTPError, ValueError) as error:
        fault = str(error).rstrip(".")
    except requests.RequestException as error:  # its text is a nest of class names
        fault = f"no connection, or it broke off or stalled ({type(error).__name__})"
    raise StudyError(f"{original.url} could not be fetched: {fault}.\n{_how_to_go_on(source, folder)}")


def _how_to_go_on(source: Source, folder: Path) -> str:
    wanted = [file for file in source.originals if not (folder / file.name).exists() and not _is_there(file, folder)]
    names = "\n  ".join(" or ".join((file.name, *file.aliases)) for file in wanted)
    return (
        "Run the same command again to continue the download. If that does not help, open\n"
        f"  {source.page}\nin a browser, sign in or accept the terms if asked, download\n  {names}\n"
        f"into\n  {folder}\nand run the same command: it unpacks the zips."
    )


def _receive(original: Original, url: str, output_file: str, _: pooch.Pooch) -> None:
    """Downloader for pooch that keeps what has arrived in `<name>.part` and asks the server for the rest only."""
    part = Path(output_file).with_name(f"{original.name}.part")
    arrived = part.stat().st_size if part.exists() else 0
    if arrived != original.size:
        start = arrived if arrived < original.size else 0
        headers = HEADERS | ({"Range": f"bytes={start}-"} if start else {})
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            _check_answer(response)
            resumed = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
            bar = tqdm(desc=part.stem, initial=start * resumed, total=original.size, unit="B", unit_scale=True)
            with bar, part.open("ab" if resumed else "wb") as file:
                for block in response.iter_content(BLOCK):
                    bar.update(file.write(block))
    part.replace(output_file)


def _check_answer(response: requests.Response) -> None:
    """Raise HTTPError if asking again may help, Refused if the answer is something else than a file."""
    status = response.status_code
    if status in (408, 429) or status >= 500:
        response.raise_for_status()
    if status not in (200, 206):
        raise Refused(f"the server refused it ({status} {response.reason})")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise Refused("the server showed a page instead, to sign in or to accept terms")


def _unpack(archive: Path, original: Original, folder: Path) -> None:
    """Unpack a zip, whose checksum is known to be right, without the folders in it and the files that macOS adds."""
    unpacked = folder / SCRATCH / original.place
    shutil.rmtree(unpacked, ignore_errors=True)  # of an interrupted run
    unpacked.mkdir()
    with zipfile.ZipFile(archive) as zipped:
        for name in tqdm(zipped.namelist(), f"unpacking {original.name}", unit="file"):
            path = Path(name)
            if not (name.endswith("/") or "__MACOSX" in path.parts or path.name.startswith(".")):
                (unpacked / path.name).write_bytes(zipped.read(name))
    unpacked.rename(folder / original.place)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.data.download", description="Fetch a dataset's original files."
    )
    parser.add_argument("dataset", help=" or ".join(SOURCES))
    parser.add_argument("--folder", type=Path, help="where to put them (default: data/DATASET)")
    options = parser.parse_args(arguments)
    try:
        folder = fetch(options.dataset, options.folder or ROOT / "data" / options.dataset)
    except StudyError as error:
        print(f"{options.dataset}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n{options.dataset}: stopped. Run the same command to continue.", file=sys.stderr)
        return 130
    images = sum(len(list((folder / file.place).glob("*.jpg"))) for file in SOURCES[options.dataset].originals)
    print(f"{options.dataset}: complete in {folder}, {images:,} images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
