"""A soak's report for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.soak.mix import CANCELLED, DRAWN
from tests.soak.soak import Report
from tests.soak.watch import CHILD_GROWTH, NODE_GROWTH, Sample, oldest

_SHOWN_TROUBLES = 5


def table(report: Report) -> str:
    lines = [*_kinds(report), "", *_usage(report.samples), "", *_end(report)]
    return "\n".join(lines)


def _kinds(report: Report) -> Iterator[str]:
    yield f"{'kind of job':<32}{'asked':>6}{'drawn':>7}{'left':>6}{'faults':>8}{'restarts':>10}  refused"
    kinds = sorted({kind for kind, _ in report.outcomes})
    for kind in kinds:
        came = Counter({outcome: jobs for (its, outcome), jobs in report.outcomes.items() if its == kind})
        yield _row(kind, came, report.happened[kind], report.restarts[kind])
    together = Counter[str]()
    for (_, outcome), jobs in report.outcomes.items():
        together[outcome] += jobs
    yield _row("together", together, report.happened.total(), report.restarts.total())


def _row(kind: str, came: Counter[str], faults: int, restarts: int) -> str:
    refused = ", ".join(f"{reason} {jobs}" for reason, jobs in sorted(came.items()) if reason not in (DRAWN, CANCELLED))
    return f"{kind:<32}{came.total():>6}{came[DRAWN]:>7}{came[CANCELLED]:>6}{faults:>8}{restarts:>10}  {refused}".rstrip()


def progress(sample: Sample) -> str:
    return f"after job {sample.jobs}: the node {sample.node}; its child {sample.child or 'is not there'}"


def _usage(samples: list[Sample]) -> Iterator[str]:
    yield f"{'after jobs':>10}{'node MB':>10}{'files':>8}{'threads':>9}{'children':>10}{'child MB':>10}{'files':>8}{'threads':>9}"
    last = len(samples) - 1
    for place in sorted({last * quarter // 4 for quarter in range(5)} if samples else ()):
        yield _usage_row(samples[place])
    old = oldest(samples)
    if len(old) > 1:
        yield f"the oldest child: {old[0].child} after job {old[0].jobs}; {old[-1].child} after job {old[-1].jobs}"
    yield f"bounds: the node may grow by {NODE_GROWTH} from a quarter to the end, a child by {CHILD_GROWTH}"


def _usage_row(sample: Sample) -> str:
    node, child = sample.node, sample.child
    its = f"{child.mb:>10.0f}{child.files:>8}{child.threads:>9}" if child else f"{'-':>10}{'-':>8}{'-':>9}"
    return f"{sample.jobs:>10}{node.mb:>10.0f}{node.files:>8}{node.threads:>9}{sample.children:>10}{its}"


def _end(report: Report) -> Iterator[str]:
    yield f"children {report.children}, replaced {report.restarts.total()}, left behind {report.left_behind}"
    if report.restarts["something else"]:
        yield f"replaced for another reason than a fault: {report.restarts['something else']}"
    yield from report.troubles[:_SHOWN_TROUBLES]
    if len(report.troubles) > _SHOWN_TROUBLES:
        yield f"... and {len(report.troubles) - _SHOWN_TROUBLES} more models that are not offered"
    yield from [f"not as it should be: {one}" for one in report.wrong] or ["every job came to the end that it should"]
