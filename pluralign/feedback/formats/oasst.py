"""OpenAssistant message trees: replies ranked among their siblings (Köpf et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pluralign.feedback.formats._fields import Fields, mapped, missing
from pluralign.feedback.formats._format import Format, Record, Sample
from pluralign.feedback.formats._ranks import by_value
from pluralign.feedback.formats._signature import columns
from pluralign.feedback.record import Judgement, Message, Response

ROLES = {"prompter": "user", "assistant": "assistant"}
TREE = "prompt"


def _parse(record: Record) -> Iterator[Judgement]:
    tree = Fields(record)
    root = mapped(tree.require(TREE), TREE)
    yield from _below(root, (), tree)


def _below(node: Mapping[str, Any], path: tuple[Message, ...], tree: Fields) -> Iterator[Judgement]:
    path = (*path, Message(node["text"], ROLES[node["role"]]))
    replies = node.get("replies") or []
    ranked = sorted((r for r in replies if _counts(r)), key=lambda r: int(r["rank"]))
    if node["role"] == "prompter" and len(ranked) >= 2:
        yield tree.judgement(
            prompt_id=node["message_id"],
            prompt=path,
            responses=tuple(
                Response((Message(r["text"], "assistant"),), id=r["message_id"], model=r.get("model_name"))
                for r in ranked
            ),
            ranks=by_value([float(r["rank"]) for r in ranked]),
            annotator_kind="person",
            meta={"lang": node.get("lang"), "replies": [_rest(r) for r in ranked]},
        )
    for r in replies:
        yield from _below(r, path, tree)


def _counts(node: Mapping[str, Any]) -> bool:
    shown = not node.get("deleted") and node.get("review_result") is not False
    return shown and node["role"] == "assistant" and not missing(node.get("rank"))


def _rest(node: Mapping[str, Any]) -> dict[str, Any]:
    known = ("text", "role", "message_id", "model_name", "replies")
    return {key: value for key, value in node.items() if key not in known and value is not None}


def _trees(records: Iterable[Record]) -> Iterator[Record]:
    """Flat messages as the trees they were; trees as they are."""
    nodes: dict[str, dict[str, Any]] = {}
    roots: list[tuple[Record, dict[str, Any]]] = []
    for record in records:
        if TREE in record.fields:
            yield record
            continue
        node = {**record.fields, "replies": []}
        nodes[node["message_id"]] = node
        if missing(node.get("parent_id")):
            roots.append((record, node))
    for node in nodes.values():
        if (parent := nodes.get(node.get("parent_id") or "")) is not None:
            parent["replies"].append(node)
    for record, root in roots:
        about: dict[str, Any] = {key: root.pop(key) for key in ("message_tree_id", "tree_state") if key in root}
        yield Record(record.source, record.row, {**about, TREE: root})


def _detect(sample: Sample) -> tuple[int, str] | None:
    tree = columns("message_tree_id", "prompt", also=["tree_state", "origin"])
    flat = columns("message_tree_id", "message_id", "parent_id", "text", "role", also=["rank", "tree_state", "labels"])
    return tree(sample) or flat(sample)


FORMAT = Format(
    name="oasst",
    about="OpenAssistant message trees, nested or one message a row: replies ranked among their siblings",
    detect=_detect,
    parse=_parse,
    regroup=_trees,
)
