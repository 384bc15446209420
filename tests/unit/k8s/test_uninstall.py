"""make k8s-down without a cluster: kubectl and kind are scripts that log their arguments."""

import json

import pytest

from k8s import uninstall
from k8s.cluster import ClusterFailed
from readmit.confirmation import NotConfirmed

OURS = {"metadata": {"labels": {"app.kubernetes.io/part-of": "readmit"}}}
BOUND = {"spec": {"volumeName": "pvc-1"}}
DELETED = "--context=c --namespace=readmit delete namespace readmit --ignore-not-found"


class Scripts:
    """The answers of `kubectl get`, and the commands that ran."""

    def __init__(self, folder):
        self.folder = folder
        self.answer("namespace", OURS)
        self.answer("pvc", BOUND)
        (folder / "pv").write_text("Retain")

    def answer(self, kind, document):
        text = ""
        if document:
            text = json.dumps(document)
        (self.folder / kind).write_text(text)

    @property
    def changes(self):
        lines = []
        log = self.folder / "log"
        if log.exists():
            for line in log.read_text().splitlines():
                if " get " not in line and "get clusters" not in line:
                    lines.append(line)
        return lines


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    kubectl = f'#!/bin/sh\necho "$@" >>{tmp_path}/log\n[ "$3" != get ] || cat "{tmp_path}/$4"\n'
    kind = f'#!/bin/sh\necho "kind $@" >>{tmp_path}/log\n[ "$1" != get ] || echo readmit\n'
    for name, text in (("kubectl", kubectl), ("kind", kind)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("READMIT_YES", "1")
    return Scripts(tmp_path)


def test_the_namespace_goes_and_the_volume_of_the_backups_stays(scripts):
    line = uninstall.remove("c", "", with_backups=False)
    assert "the volume pvc-1 of the backups stays" in line
    patch, deletion = scripts.changes
    assert "patch pv pvc-1" in patch
    assert '"persistentVolumeReclaimPolicy": "Retain"' in patch
    assert deletion == DELETED


def test_with_the_word_the_backups_go_too(scripts):
    assert "the backups too" in uninstall.remove("c", "", with_backups=True)
    assert scripts.changes == [DELETED]


@pytest.mark.parametrize("claim", [None, {"spec": {}}])
def test_without_backups_there_is_nothing_to_keep(scripts, claim):
    scripts.answer("pvc", claim)
    assert "backups" not in uninstall.remove("c", "", with_backups=False)
    assert scripts.changes == [DELETED]


def test_a_volume_that_cannot_be_kept_stops_the_removal(scripts):
    (scripts.folder / "pv").write_text("Delete")
    with pytest.raises(ClusterFailed, match="nothing was deleted"):
        uninstall.remove("c", "", with_backups=False)
    assert DELETED not in scripts.changes


@pytest.mark.parametrize("labels", [{}, {"app.kubernetes.io/part-of": "other"}])
def test_a_namespace_of_others_stays(scripts, labels):
    scripts.answer("namespace", {"metadata": {"labels": labels}})
    with pytest.raises(ClusterFailed, match="so it is not ours: nothing was deleted"):
        uninstall.remove("c", "", with_backups=True)
    with pytest.raises(ClusterFailed, match="so it is not ours"):
        uninstall.remove("", "kind", with_backups=True)
    assert scripts.changes == []


def test_no_namespace_is_no_failure(scripts):
    scripts.answer("namespace", None)
    assert "there was no namespace" in uninstall.remove("c", "", with_backups=False)
    with pytest.raises(ClusterFailed, match="was not made by `make k8s-up`"):
        uninstall.remove("", "kind", with_backups=False)
    assert scripts.changes == []


def test_a_cluster_with_backups_goes_only_with_the_word(scripts):
    with pytest.raises(ClusterFailed, match="then say BACKUPS=delete"):
        uninstall.remove("", "kind", with_backups=False)
    assert scripts.changes == []
    assert uninstall.remove("", "", with_backups=True) == "the kind cluster readmit is gone"
    assert scripts.changes == ["kind delete cluster --name=readmit"]


def test_it_asks_first(scripts, monkeypatch):
    monkeypatch.delenv("READMIT_YES")
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    for context, tool in (("c", ""), ("", "kind")):
        with pytest.raises(NotConfirmed, match="YES=1"):
            uninstall.remove(context, tool, with_backups=True)
    assert scripts.changes == []
