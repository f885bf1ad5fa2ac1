"""Choose the files of a hub dataset that make up one split of one configuration."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import Any

from waltzrl_tui.datasets.reading.formats import SUFFIXES
from waltzrl_tui.errors import UsageError
from waltzrl_tui.text import one_line

Groups = dict[str, dict[str, list[str]]]
"""Files by split, by configuration."""

DEFAULT = "default"
_WHOLE = "train"  # The hub's name for the split of a dataset without splits.
_SPLITS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "eval": "eval",
    "evaluation": "eval",
}
_NOT_DATA = re.compile(
    r"(dataset_infos?|dataset_dict|state|config|package|metadata|croissant|\w*schema)\.json"
)
_SHARD = re.compile(r"([-_.](part)?\d+(-of-\d+)?)+$")
_FOLDERS = ("data", "dataset", "raw")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenSplit:
    """The files of one split in order, and the other choices."""

    config: str
    split: str
    files: tuple[str, ...]
    configs: tuple[str, ...]
    splits: tuple[str, ...]


def grouped(names: Iterable[str], card: Mapping[str, Any]) -> Groups:
    """The data files among `names`, grouped by the dataset's card, else by their names.

    Args:
        card: The metadata at the top of the dataset's README.
    """
    files = sorted(name for name in names if _is_data(name))
    return _by_card(files, card.get("configs")) or _by_name(files)


def converted(names: Iterable[str]) -> Groups:
    """The files of the hub's own Parquet conversion: `config/split/0000.parquet`."""
    groups: Groups = {}
    for name in sorted(names):
        parts = name.split("/")
        if len(parts) == 3 and parts[2].endswith(".parquet"):
            split = parts[1].removeprefix("partial-")
            groups.setdefault(parts[0], {}).setdefault(split, []).append(name)
    return groups


def choose(groups: Groups, repo: str, config: str | None, split: str | None) -> ChosenSplit:
    """One split of one configuration; `train` by default where there is one.

    Raises:
        UsageError: It does not exist, or there are several to choose from; they are listed.
    """
    configs = tuple(groups)
    if config is None:
        config = next((name for name in (DEFAULT, *configs) if name in groups), "")
        if len(configs) > 1 and DEFAULT not in groups:
            raise UsageError(
                f"{repo} has several configurations.",
                hint=f"Choose one with --config: {_listed(configs)}.",
            )
    elif config not in groups:
        raise UsageError(
            f"{repo} has no configuration “{one_line(config, 60)}”.",
            hint=f"Choose one with --config: {_listed(configs)}.",
        )
    splits = tuple(groups[config])
    wanted = split if split is None or split in splits else _SPLITS.get(split.casefold(), split)
    if wanted is None and (len(splits) == 1 or _WHOLE in splits):
        wanted = _WHOLE if _WHOLE in splits else splits[0]
    if wanted not in splits:
        reason = "several splits" if wanted is None else f"no split “{one_line(wanted, 60)}”"
        raise UsageError(
            f"{repo} has {reason}.", hint=f"Choose one with --split: {_listed(splits)}."
        )
    return ChosenSplit(
        config=config,
        split=wanted,
        files=tuple(groups[config][wanted]),
        configs=configs,
        splits=splits,
    )


def _is_data(name: str) -> bool:
    path = PurePosixPath(name)
    plain = path.name.casefold().removesuffix(".gz")
    hidden = any(part.startswith(".") for part in path.parts)
    return plain.endswith(SUFFIXES) and not hidden and not _NOT_DATA.fullmatch(plain)


def _by_card(files: Sequence[str], configs: object) -> Groups:
    groups: Groups = {}
    for entry in configs if isinstance(configs, list) else []:
        if not isinstance(entry, dict):
            continue
        name = str(entry.get("config_name", DEFAULT))
        for split, patterns in _patterns(entry.get("data_files")):
            matches = [file for file in files if any(_matches(file, each) for each in patterns)]
            if matches:
                groups.setdefault(name, {}).setdefault(split, []).extend(matches)
        if entry.get("default") is True and name in groups:
            groups = {DEFAULT: groups.pop(name), **groups} if name != DEFAULT else groups
    return groups


def _patterns(data_files: object) -> list[tuple[str, list[str]]]:
    if isinstance(data_files, str):
        return [(_WHOLE, [data_files])]
    patterns: list[tuple[str, list[str]]] = []
    for entry in data_files if isinstance(data_files, list) else []:
        if isinstance(entry, str):
            patterns.append((_WHOLE, [entry]))
        elif isinstance(entry, dict):
            path = entry.get("path")
            paths = path if isinstance(path, list) else [path]
            patterns.append((str(entry.get("split", _WHOLE)), [str(each) for each in paths]))
    return patterns


def _matches(file: str, pattern: str) -> bool:
    pattern = pattern.removeprefix("./")
    return fnmatch(file, pattern) or fnmatch(file, pattern.replace("**/", ""))


def _by_name(files: Sequence[str]) -> Groups:
    groups: Groups = {}
    unsplit: dict[str, list[str]] = {}
    for file in files:
        path = PurePosixPath(file)
        folders = [part for part in path.parts[:-1] if part not in _FOLDERS]
        stem = _SHARD.sub("", path.name.casefold().removesuffix(".gz").rpartition(".")[0])
        split = _split(re.split(r"[^a-z0-9]+", stem))
        if not split and folders:
            split = _split([folders[-1].casefold()])
            folders = folders[:-1] if split else folders
        config = "/".join(folders) or DEFAULT
        if split:
            groups.setdefault(config, {}).setdefault(split, []).append(file)
        else:
            unsplit.setdefault("/".join((*folders, stem)), []).append(file)
    # Files whose names name no split are a configuration each: their columns may differ.
    if not groups and len(unsplit) == 1:
        unsplit = {DEFAULT: next(iter(unsplit.values()))}
    for config, members in unsplit.items():
        groups.setdefault(config, {}).setdefault(_WHOLE, []).extend(members)
    return {
        config: {split: _one_format(members) for split, members in splits.items()}
        for config, splits in groups.items()
    }


def _split(words: Sequence[str]) -> str:
    return next((_SPLITS[word] for word in words if word in _SPLITS), "")


def _one_format(files: list[str]) -> list[str]:
    """Of several formats of the same rows, the files in the best supported one."""
    for suffix in SUFFIXES:
        same = [file for file in files if file.casefold().removesuffix(".gz").endswith(suffix)]
        if same:
            return same
    return files


def _listed(names: Sequence[str]) -> str:
    return one_line(", ".join(names), 400)
