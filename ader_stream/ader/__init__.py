"""The method: torch, no Kafka.

Read `cycle` first, beside algorithm 1 of the paper::

    cycle        one update cycle
    methods      what ADER, its baselines and its ablations do with the past
    recipes      every hyper-parameter
    evaluate     the paper's protocol on recorded sessions      metrics   its slices and lists
    calibration  what a version ranks by, measured on clicks that its model has not learned
    retention    which items leave the catalogue
    device, distributed, progress

Its rooms, each of which sees only those below it::

    training     epochs, losses, replay of exemplars, elastic weight consolidation, checkpoints
    artifact     the state of a version, and its forms: safetensors, folders, ONNX
    exemplars    allocation and selection; herding
    models       what session models share, SASRec, the model of recipe production, ranking
    data         vocabulary, sessions to samples, batches
"""
