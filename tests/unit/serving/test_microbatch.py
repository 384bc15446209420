"""Requests of the same moment are scored in one call; each gets its own answer or its own fault."""

import asyncio

import pytest

from serving.microbatch import MicroBatcher


class Doubling:
    """A model that keeps the sizes of its batches."""

    def __init__(self):
        self.sizes = []

    def score(self, rows):
        self.sizes.append(len(rows))
        return [row["x"] * 2 for row in rows]


def answers(*requests, cancelled=()):
    async def together():
        batcher = MicroBatcher()
        tasks = [asyncio.ensure_future(batcher.predict(model, row)) for model, row in requests]
        await asyncio.sleep(0)
        for number in cancelled:
            tasks[number].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(together())


def test_one_call_for_requests_of_the_same_moment():
    model = Doubling()
    assert answers(*((model, {"x": float(x)}) for x in range(5))) == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert model.sizes == [5]


def test_one_at_a_time_is_answered_at_once():
    async def one_after_the_other():
        batcher = MicroBatcher()
        return [await batcher.predict(model, {"x": 1.0}), await batcher.predict(model, {"x": 2.0})]

    model = Doubling()
    assert asyncio.run(one_after_the_other()) == [2.0, 4.0]
    assert model.sizes == [1, 1]


def test_each_row_is_scored_by_its_own_model():
    one = Doubling()
    other = Doubling()
    assert answers((one, {"x": 1.0}), (other, {"x": 2.0}), (one, {"x": 3.0})) == [2.0, 4.0, 6.0]
    assert (one.sizes, other.sizes) == ([2], [1])


def test_a_row_that_cannot_be_scored_fails_no_other():
    model = Doubling()
    first, bad, last = answers((model, {"x": 1.0}), (model, {}), (model, {"x": 3.0}))
    assert (first, last) == (2.0, 6.0)
    assert isinstance(bad, KeyError)


@pytest.mark.parametrize("scores", [[], ["much"], [None]])
def test_a_model_that_answers_nonsense_leaves_nobody_waiting(scores):
    class Nonsense:
        def score(self, rows):
            return scores

    async def at_most_a_second():
        batcher = MicroBatcher()
        model = Nonsense()
        predictions = (batcher.predict(model, {}) for _ in range(3))
        return await asyncio.wait_for(
            asyncio.gather(*predictions, return_exceptions=True), timeout=1
        )

    errors = asyncio.run(at_most_a_second())
    assert len(errors) == 3
    for error in errors:
        assert type(error) in (ValueError, TypeError)


@pytest.mark.parametrize("row", [{"x": 2.0}, {}], ids=["scored", "not scored"])
def test_a_caller_that_is_gone_does_not_hurt_the_others(row):
    gone, other = answers((Doubling(), row), (Doubling(), {"x": 2.0}), cancelled=[0])
    assert isinstance(gone, asyncio.CancelledError)
    assert other == 4.0
