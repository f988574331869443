"""The client (VEN): keeps one registration with a VTN, follows its events, delivers reports.

Entrance: `await ven.client.run(settings, facility, store, clock, sleep, stop)` where `settings` is a
`ven.settings.VenSettings`, `facility` a `ven.facility.Facility`, `store` a `ven.store.Store`
(`Store.open(settings.state_path)`), `clock` gives aware UTC, `sleep` waits seconds of that clock and `stop`
is an `asyncio.Event`; it returns after `stop` is set.
"""
