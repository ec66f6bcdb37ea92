"""The method: torch, no Kafka.

In the order of the paper::

    cycle        one update cycle: read this first
    methods      what ADER, its baselines and its ablations do with the past
    recipes      every hyper-parameter
    vocabulary   item ids ↔ dense indices    texts    what they lie in    retention   which leave
    dataset      sessions → sub-sequences → batches      pieces     their inputs side by side
    model        what session models have in common       encoders   the ones there are
    sasrec       the paper's        core     the one of recipe production
    returns      how readily people go back to what they saw    companions   what stood next to
                 what: both are what ``core`` knows beside its weights    members   models in one
    calibration  what a version ranks by, found on clicks that it has not learnt
    training     epochs, steps, early stopping
    losses       cross-entropy, distillation, the adaptive weight λ_t
    replay       the exemplars' share of each step, with the previous model as teacher
    ewc          the same for a baseline: a penalty on leaving the previous weights
    exemplars    allocation and choice    herding    the choice of ADER
    ranking      ranks and top-k lists, float32
    state        what one version is      artifact  the same as bytes
    evaluate     the paper's protocol on recorded sessions
"""
