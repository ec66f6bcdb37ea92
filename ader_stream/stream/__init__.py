"""The transport: Kafka, no torch.

The way of a click, file by file::

    clicks            the user's record → Click, or a reason why not
    window            clicks → sessions, block ends: pure, no clock, no Kafka
    sessionizing      one partition of it, with changelog and dead letters
    sessions          closed sessions and block ends as records, and back
    block_feed        sessions → complete blocks, for the trainer
    model_log         versions → chunks, and the manifest that makes them exist
    model_reader      manifests → parts, checked      manifest     what a version is, as a record
    signing           who may publish a version
    registry          every version and command that counts, followed
    standing          who serves and who is the next parent, of models and control
    control           what commands ask               pruning      what may be deleted
    forgetting        keys that are to be forgotten   forget_report  what is held of one
    prefixes          clicks → session prefixes, by the sessionizer's own rules
    prequential       one partition of scoring: prefixes, scores, recommendations
    score_log         running scores as records      serving_log  who serves what

What they stand on::

    exactly_once      one input partition = one state = one producer = one transaction
    leadership        which of several trainers leads
    changelog         reading a partition to its end: how state comes back
    clients           consumers and producers with the properties that all this relies on
    topics            names, partitions, cleanup        codec    our Avro records
    records           a record that was read

And beside the workers::

    replaying         recorded clicks into the topic    system_view  what the topics say
    diagnosis         what is wrong with a cluster, and how to mend it
"""
