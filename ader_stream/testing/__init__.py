"""Test against ader-stream: a pytest plugin with a real Kafka and running workers.

::

    plugin         the fixtures: ader_kafka, ader_settings, ader_trainer, ader_system
    shop           ShopSystem: send_clicks, sessions_of, wait_for_version, recommendations_for
    fake_trainer   publishes versions that were never trained
    system         topics of its own, worker processes, waiting; worker: one process and its HTTP
    brokers        a Kafka that a test may break
    processes      how a worker is started; preloaded: what its process has loaded before

Nothing here is imported, beside the plugin itself, before a test asks for one of its fixtures.
"""
