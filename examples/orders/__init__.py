"""The study's transport-order service, twice: as it was found, and on our blocks.

`routes` is the service's face and the same for both. `before` and `after` are two wirings behind
it. `data` fills a database to run them on.
"""
