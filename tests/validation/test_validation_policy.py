"""Score, lanes, retry advice: properties of the table of findings rather than of any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipika.models import Advice, Finding, Lane, Severity, Verdict
from lipika.validation import RULES, LaneName, acceptable, add_findings, retry_advice
from lipika.validation.again import OF_WHOLE_VIDEO
from lipika.validation.catalogue import ScorePart, finding
from lipika.validation.judge import lane, quality, score_parts

FINDINGS = st.lists(st.sampled_from(sorted(RULES)).map(lambda code: finding(code, "seen")), max_size=12)
SHARES = st.floats(0, 1)


def verdict(findings: list[Finding], boundary: float = 1.0) -> Verdict:
    parts = score_parts(findings, {part.value: 1.0 for part in ScorePart} | {"boundary": boundary})
    return Verdict(
        findings=tuple(findings),
        quality_score=quality(parts),
        score_parts=parts,
        asr=lane(LaneName.ASR, findings),
        tts_clean=lane(LaneName.TTS_CLEAN, findings),
        tts_expressive=lane(LaneName.TTS_EXPRESSIVE, findings),
        lang_mismatch=False,
        overlap_suspected=any(found.code.startswith("overlap_") for found in findings),
        num_unk=0,
        num_inaudible=0,
        num_event_tags=0,
        text_length_per_sec=0.0,
        validator_version="test",
    )


def of(*codes: str) -> Verdict:
    return verdict([finding(code, "seen") for code in codes])


def lanes(judged: Verdict) -> tuple[Lane, Lane, Lane]:
    return judged.asr, judged.tts_clean, judged.tts_expressive


@given(FINDINGS, SHARES)
def test_a_score_lies_between_0_and_1_and_is_the_product_of_its_parts(
    findings: list[Finding], edge: float
) -> None:
    judged = verdict(findings, edge)
    assert 0.0 <= judged.quality_score <= 1.0
    assert set(judged.score_parts) == set(ScorePart)
    assert all(judged.quality_score <= part + 1e-4 for part in judged.score_parts.values())


@given(FINDINGS, FINDINGS, SHARES)
def test_more_findings_never_raise_a_score_or_open_a_lane(
    findings: list[Finding], more: list[Finding], edge: float
) -> None:
    before, after = verdict(findings, edge), verdict(findings + more, edge)
    assert after.quality_score <= before.quality_score
    assert all(after.score_parts[part] <= before.score_parts[part] for part in ScorePart)
    for was, now in zip(lanes(before), lanes(after), strict=True):
        assert was.eligible or not now.eligible
        assert set(was.reasons) <= set(now.reasons)


@given(FINDINGS, FINDINGS, SHARES)
def test_findings_added_later_count_as_if_they_had_been_there(
    findings: list[Finding], more: list[Finding], edge: float
) -> None:
    later, at_once = add_findings(verdict(findings, edge), more), verdict(findings + more, edge)
    assert later.quality_score == pytest.approx(at_once.quality_score, abs=1e-4)
    assert lanes(later) == lanes(at_once)
    assert later.overlap_suspected == at_once.overlap_suspected
    assert later.findings == at_once.findings


@given(SHARES, SHARES, FINDINGS)
def test_cleaner_edges_never_lower_a_score(one: float, other: float, findings: list[Finding]) -> None:
    worse, better = sorted((one, other))
    assert verdict(findings, worse).quality_score <= verdict(findings, better).quality_score


@given(FINDINGS)
def test_a_lane_is_open_exactly_if_it_has_no_reasons(findings: list[Finding]) -> None:
    for name, found in zip(LaneName, lanes(verdict(findings)), strict=True):
        assert found.eligible is (not found.reasons)
        assert set(found.reasons) == {f.code for f in findings if name in RULES[f.code].closes}
        assert len(set(found.reasons)) == len(found.reasons)


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_the_table_is_consistent(rule: object) -> None:
    rule = RULES[rule.code]  # type: ignore[attr-defined]
    assert 0.0 <= rule.penalty <= 1.0
    assert rule.meaning.endswith(".")
    assert rule.threshold
    assert rule.source
    if rule.severity is Severity.FAIL:
        assert rule.closes == set(LaneName)
        assert rule.penalty >= 0.5
        assert rule.later or rule.advice is not Advice.KEEP  # found later, the answer has been taken
    if rule.severity is Severity.INFO:
        assert rule.penalty <= 0.1
        assert rule.advice is Advice.KEEP
    if LaneName.ASR in rule.closes:
        assert rule.closes == set(LaneName), "what spoils recognition spoils synthesis"
    if rule.never_accepted:
        assert rule.severity is Severity.FAIL


def test_advice_follows_the_findings_and_what_was_tried() -> None:
    assert retry_advice(of()) is Advice.KEEP
    assert retry_advice(of("hint_mismatch", "noisy", "unk")) is Advice.KEEP

    assert retry_advice(of("loop")) is Advice.VARY
    assert retry_advice(of("loop"), varied=True) is Advice.ELSEWHERE
    assert retry_advice(of("loop"), varied=True, switched=True) is Advice.KEEP

    assert retry_advice(of("english_text")) is Advice.VARY
    assert retry_advice(of("english_text"), varied=True) is Advice.KEEP

    assert retry_advice(of("meta_talk")) is Advice.ELSEWHERE
    assert retry_advice(of("meta_talk", "loop")) is Advice.ELSEWHERE
    assert retry_advice(of("meta_talk"), switched=True) is Advice.KEEP


@given(FINDINGS)
def test_advice_comes_to_an_end(findings: list[Finding]) -> None:
    judged = verdict(findings)
    tried: list[Advice] = []
    while (
        advice := retry_advice(
            judged,
            varied=Advice.VARY in tried,
            switched=Advice.ELSEWHERE in tried,
        )
    ) is not Advice.KEEP:
        assert advice not in tried
        tried.append(advice)


def test_a_loop_is_never_accepted() -> None:
    assert not acceptable(of("loop"))
    assert not acceptable(of("rate_impossible", "loop"))
    assert acceptable(of("rate_impossible", "wrong_script"))
    assert acceptable(of())


def test_long_evidence_is_cut() -> None:
    assert finding("loop", "ab" * 500).evidence == ("ab" * 80)[:159] + "…"


def test_what_only_a_whole_video_shows_is_found_again_when_answers_are_judged_again() -> None:
    """What two askings agreed on is, too; whatever else comes later is a recogniser's or a person's, and kept."""
    later = {code for code, rule in RULES.items() if rule.later and rule.part is not ScorePart.ALIGNMENT}
    assert later == OF_WHOLE_VIDEO | {"repetition_agreed", "unusable"}
