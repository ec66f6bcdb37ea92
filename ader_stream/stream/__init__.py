"""The transport: Kafka, no torch.

Its rooms, each seeing only those below it::

    dead_letters      what was refused: listed, mended, sent back
    scores            clicks → session prefixes, by the sessionizer's own rules → running scores
    models            versions published, signed, read, followed, pruned
    sessions          clicks → sessions and block ends → complete blocks
    clicks            the user's record → a click, or a reason why not
    kafka             clients, transactions, topics, our Avro records

A click's way through them: `clicks.decoder`, `sessions.intake` (which clicks count),
`sessions.window` (pure: no clock, no Kafka), `sessions.sessionizing` (one input partition of it,
with changelog and dead letters, a task of `kafka.exactly_once`), `sessions.session_records`,
`sessions.block_feed` (the trainer's blocks). A model's way: `models.model_log`, `models.registry`,
`models.standing` (who serves and who is the next parent), `models.model_reader`.

Beside the rooms::

    control           what commands ask               erasures       keys that are to be erased
    forget_report     what is held of one             replaying      recorded clicks into the topic
    system_view       what the topics say             diagnosis      what is wrong with a cluster
    schema_check      whether our topics can be read
"""
