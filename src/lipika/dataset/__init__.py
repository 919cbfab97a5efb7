"""From result archives to datasets that trainers read: selection, plan, shards, formats, views, verification, card.

`sources` finds the candidates, `plan` says which of them goes to which shard, `shards` writes them in a `formats` and
`verify` reads them again. What is written is a function of the plan alone.
"""
