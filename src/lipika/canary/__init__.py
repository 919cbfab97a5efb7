"""The canary: a small, measured run before the large one.

The same clips, a few from every language, are asked in several ways (arms): as set, through the other provider, at
another temperature, at other thinking levels. `sample` chooses them, `asking` asks, `measures` counts, `judgement`
says go or no-go, `page` shows it; docs/canary.md explains how to read it.
"""
