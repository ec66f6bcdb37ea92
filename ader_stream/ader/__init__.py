"""The method: torch, no Kafka.

Read `cycle` first, beside algorithm 1 of the paper::

    cycle           one update cycle: grow, fit, select
    methods         ADER, its baselines and its ablations
    recipes         every hyper-parameter: data, no code
    evaluate        the paper's protocol on recorded sessions
    metrics         recall and MRR, slices, coverage
    calibration     values that are fitted to clicks before a model is trained on them
    report          statistics of a cycle
    retention       which items leave the catalogue
    random_streams  the random numbers of a cycle
    device, distributed, progress

Its packages, each of which imports only those below it::

    training     split of a block, epochs, losses and their targets, replay, EWC, checkpoints
    artifact     the state of a version, and its forms: safetensors, folders, ONNX
    exemplars    allocation and selection; herding
    models       the base of session models, SASRec, the model of recipe production, ranking
    data         vocabulary, sessions to samples, batches
"""
