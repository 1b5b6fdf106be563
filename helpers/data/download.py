"""Download HAM10000 or ISIC 2019 from the publisher: `python -m helpers.data.download ham10000`.

Files are downloaded to and unpacked in `download/` inside the dataset's folder. Complete files with the right checksum
are then moved to their final place. An interrupted run continues where it stopped. Zips that were put into the folder
by hand are also checked and unpacked, and stay where they are.
"""

import argparse
import shutil
import sys
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import pooch
import requests
from tqdm import tqdm

from helpers.data.external import EXTERNAL, how_to_get
from helpers.data.layouts import IMAGE_SUFFIXES
from helpers.study import ROOT, StudyError

SCRATCH = "download"
# Harvard's firewall answers 403 to the default user agent of Python's HTTP libraries (IQSS/dataverse.harvard.edu#479).
# Compressed responses would make byte ranges and sizes meaningless.
HEADERS = {"User-Agent": "skin-lesion-study/0.1", "Accept-Encoding": "identity"}
TIMEOUT = 30  # seconds without data before a connection counts as broken
RETRIES = 5  # further attempts per file, after 1, 2, 3 … seconds
BLOCK = 1 << 16  # bytes read at once


# Pages for a download by hand. The files are listed in originals.csv:
# - Sizes and MD5 of HAM10000 are those of version 4.0 on Dataverse. The URLs ask for the original tables.
# - ISIC publishes no checksums. Two independent studies report these SHA-256 for this address. They show that a file is
#   the one that others used; ISIC does not confirm them.
PAGES = {
    "ham10000": "https://dataverse.harvard.edu/dataset.xhtml?persistentId=doi:10.7910/DVN/DBW86T",
    "isic2019": "https://challenge.isic-archive.com/data/#2019",
}


@dataclass(frozen=True)
class Original:
    """One file as published.

    size: bytes. checksum: `algorithm:hexadecimal digits`. count: images in a zip, or rows in a table.
    """

    dataset: str
    name: str
    url: str
    size: int
    checksum: str
    count: int

    @property
    def places(self) -> list[str]:
        """Possible names in the dataset's folder: the folder that a zip is unpacked to, or the names of a table."""
        stem = Path(self.name).stem
        return [stem] if self.name.endswith(".zip") else [self.name, stem, f"{stem}.tab"]


def read_originals() -> list[Original]:
    """The published files of all datasets."""
    return [Original(*row) for row in pd.read_csv(Path(__file__).with_name("originals.csv")).itertuples(index=False)]


class Refused(Exception):
    """The server did not send the file, and trying again would not help."""


def fetch(dataset: str, folder: Path) -> Path:
    """Download the files of a dataset that are missing in `folder`. Returns the absolute path of `folder`.

    The folder has the publisher's layout. Raises StudyError if a file cannot be downloaded, and says how to
    do it by hand. Also raises it for an unknown dataset, too little disk space, or a wrong checksum.
    """
    if dataset in EXTERNAL:
        raise StudyError(f"this data set is not downloaded. Get it by hand:\n{how_to_get(dataset)}")
    if dataset not in PAGES:
        fault = "the demo is drawn, not downloaded" if dataset == "demo" else f"unknown dataset {dataset!r}"
        raise StudyError(f"{fault}. Choose one of {', '.join(PAGES)}.")
    folder = Path(folder).expanduser().resolve()
    try:
        if missing := _list_missing(dataset, folder):
            (folder / SCRATCH).mkdir(parents=True, exist_ok=True)
            _check_room(missing, folder)
            for original in missing:
                _place(original, folder)
            shutil.rmtree(folder / SCRATCH)
    except OSError as error:
        raise StudyError(f"{folder}: {error}. Make this folder writable, or choose another.") from error
    return folder


def _list_missing(dataset: str, folder: Path) -> list[Original]:
    return [file for file in read_originals() if file.dataset == dataset and not _is_there(file, folder)]


def _is_there(original: Original, folder: Path) -> bool:
    """Whether an original is in place. Raises StudyError if it is incomplete."""
    path = next((folder / name for name in original.places if (folder / name).exists()), None)
    if path is None:
        return False
    if path.is_dir():
        count = sum(file.suffix.lower() in IMAGE_SUFFIXES and file.name[0] != "." for file in path.iterdir())
    else:
        count = sum(1 for line in path.read_bytes().splitlines() if line.strip()) - 1
    if count != original.count:
        fault = f"{path} has {count:,} {'images' if path.is_dir() else 'rows'} instead of {original.count:,}"
        raise StudyError(f"{fault}. Complete it, or move it away so that it is downloaded again.")
    return True


def _check_room(missing: list[Original], folder: Path) -> None:
    """Raise StudyError unless the disk has room for all images and the largest zip still to download."""
    remote = [original.size for original in missing if not (folder / original.name).exists()]
    arrived = sum(file.stat().st_size for file in (folder / SCRATCH).rglob("*") if file.is_file())
    needed = sum(original.size for original in missing) + max(remote, default=0) - arrived
    free = shutil.disk_usage(folder).free
    if free < needed:
        fault = f"{folder}: {needed / 1e9:.1f} GB are needed, but only {free / 1e9:.1f} GB are free"
        raise StudyError(f"{fault}. Free some space, or choose a folder on another disk.")


def _place(original: Original, folder: Path) -> None:
    """Put one original in place, from a zip that is already in the folder or from the publisher."""
    zipped = folder / original.name
    if zipped.exists():
        if not pooch.hashes.hash_matches(str(zipped), original.checksum):
            fault = f"{zipped}: not the file from {PAGES[original.dataset]}: its checksum is not {original.checksum}"
            raise StudyError(f"{fault}. Remove it, and run the same command again.")
        _unpack(zipped, original, folder)
        return
    arrived = _download(original, folder)
    if arrived.suffix == ".zip":
        _unpack(arrived, original, folder)
        arrived.unlink()
    else:
        arrived.replace(folder / original.name)


def _download(original: Original, folder: Path) -> Path:
    """Download one original into the scratch folder and check it. Raises StudyError if this fails."""
    store = pooch.create(
        path=folder / SCRATCH,
        base_url="",
        registry={original.name: original.checksum},
        urls={original.name: original.url},
        retry_if_failed=RETRIES,
    )
    try:
        return Path(store.fetch(original.name, downloader=partial(_receive, original=original)))
    except (Refused, requests.HTTPError, ValueError) as error:
        fault = str(error).rstrip(".")
    except requests.RequestException as error:  # its text is hard to read
        fault = f"no connection, or the connection broke off or stalled ({type(error).__name__})"
    raise StudyError(f"{original.url} could not be downloaded: {fault}.\n{_how_to_go_on(original.dataset, folder)}")


def _how_to_go_on(dataset: str, folder: Path) -> str:
    names = "\n  ".join(file.name for file in _list_missing(dataset, folder) if not (folder / file.name).exists())
    return (
        "Run the same command again to continue the download. If that does not help, open\n"
        f"  {PAGES[dataset]}\nin a browser, sign in or accept the terms if asked, download\n  {names}\n"
        f"into\n  {folder}\nand run the same command, which unpacks the zips."
    )


def _receive(url: str, output_file: str, _: pooch.Pooch, *, original: Original) -> None:
    """Downloader for pooch that keeps partial data in `<name>.part` and asks the server only for the rest."""
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
    """Raise HTTPError if trying again may help, Refused if the response is not a file."""
    status = response.status_code
    if status in (408, 429) or status >= 500:
        response.raise_for_status()
    if status not in (200, 206):
        raise Refused(f"the server refused the request ({status} {response.reason})")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise Refused("the server sent a web page instead, for example to sign in or to accept terms")


def _unpack(archive: Path, original: Original, folder: Path) -> None:
    """Unpack a verified zip, without its folder structure and the extra files that macOS adds."""
    unpacked = folder / SCRATCH / original.places[0]
    shutil.rmtree(unpacked, ignore_errors=True)  # left by an interrupted run
    unpacked.mkdir()
    with zipfile.ZipFile(archive) as zipped:
        for name in tqdm(zipped.namelist(), f"unpacking {original.name}", unit="file"):
            path = Path(name)
            if not (name.endswith("/") or "__MACOSX" in path.parts or path.name.startswith(".")):
                (unpacked / path.name).write_bytes(zipped.read(name))
    unpacked.rename(folder / original.places[0])


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.data.download", description="Download a dataset's original files."
    )
    parser.add_argument("dataset", help=" or ".join(PAGES))
    parser.add_argument("--folder", type=Path, help="folder for the files (default: data/DATASET)")
    options = parser.parse_args(arguments)
    try:
        folder = fetch(options.dataset, options.folder or ROOT / "data" / options.dataset)
    except StudyError as error:
        print(f"{options.dataset}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n{options.dataset}: stopped. Run the same command to continue.", file=sys.stderr)
        return 130
    print(f"{options.dataset}: complete in {folder}, {len(list(folder.glob('*/*.jpg'))):,} images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
