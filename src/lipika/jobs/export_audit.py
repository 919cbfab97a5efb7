"""The audit that the card of an export tells of: the newest of the database that is heard to its end."""

from __future__ import annotations

import math

from lipika.config import Settings
from lipika.dataset.summary import AuditedLanguage, CorpusAudit
from lipika.db.audits import Audits
from lipika.db.connection import Database
from lipika.errors import DatabaseError

_LOOKED_AT = 20


async def find_audit(database: Database | None, lane: str, settings: Settings) -> CorpusAudit | None:
    """The newest complete audit with its figures, of `lane` where it has any; None where there is none."""
    if database is None:
        return None
    audits = Audits(database)
    try:
        newest = await audits.list_audits(_LOOKED_AT)
    except DatabaseError:  # of an earlier release, without these tables
        return None
    for audit in newest:
        progress = await audits.progress(audit.id)
        if progress and all(one.heard == one.clips for one in progress):
            break
    else:
        return None
    from lipika.alignment.romanise import open_romaniser
    from lipika.audit.figures import make_figures
    from lipika.audit.page import verdict_words

    figures = make_figures(audit, await audits.clips(audit.id), open_romaniser(settings.align_romaniser))
    of_lane = [part for part in figures.lanes if part.lane == lane and part.heard]
    return CorpusAudit(
        number=audit.id,
        drawn_on=f"{audit.drawn_at:%Y-%m-%d}",
        lane=lane if of_lane else audit.lane,
        agreement_cer=figures.agreement.cer,
        languages=[
            AuditedLanguage(
                language=part.language,
                heard=part.heard,
                cer=part.cer.estimate.value,
                cer_low=part.cer.estimate.low,
                cer_high=part.cer.estimate.high,
                unusable=part.unusable.estimate.value,
                unusable_low=part.unusable.estimate.low,
                unusable_high=part.unusable.estimate.high,
                cer_verdict=verdict_words(part, part.cer_verdict),
                unusable_verdict=verdict_words(part, part.unusable_verdict),
            )
            for part in of_lane or figures.languages
            if not math.isnan(part.cer.estimate.value)
        ],
    )
