"""``ader-stream try``: what continual training would do on a data set, on one page, in minutes.

Its modules, each of which imports only those below it::

    try_       the command
    run        reading, training and the page in turn
    page       the results as Markdown
    advice     settings, verdict and warnings
    trained    recall and cost of methods, within a limited time
    baselines  popularity and session-kNN
    sample     which sessions are used
    survey     what the clicks are like
"""
