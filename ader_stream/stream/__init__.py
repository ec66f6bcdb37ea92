"""The stream: Kafka, no torch.

Its packages, each of which imports only those below it::

    diagnosis         what is wrong between settings, cluster and clicks
    operations        replay, reset, offsets, erasure reports, rights, the view of the whole system
    versions          the model log: versions published, signed, read, followed, pruned
    scores            clicks to session prefixes, by the sessionizer's rules, to running scores
    dead_letters      refused records: listed, changed, sent back
    blocks            closed sessions to complete blocks
    sessions          clicks to closed sessions and block ends
    clicks            the user's record to a click, or the reason why it is none
    control           commands, erasure requests, and the rules in force
    exactly_once      one input partition = one state = one producer = one transaction
    schema_registry   writer's schemas by id
    groups            consumer groups: membership, leadership, offsets
    topics            names, creation, configuration, replication
    transactions      transactional requests, and the producer that commits, aborts, gives up
    kafka             clients, records, producing, reading and following
    avro              our record types as bytes, and hand-written Avro of many values at once

The path of a click: `clicks.decoder`, `sessions.intake` (which clicks count), `sessions.window`
(pure: no clock, no Kafka), `sessions.task` (one input partition of it, with changelog and dead
letters, driven by `exactly_once.loop`), `sessions.records`, `blocks.feed`. The path of a version:
`model_registry.model_log`, `model_registry.registry`, `model_registry.version_roles` (which version
serves, and which is the next parent), `model_registry.model_reader`.
"""
