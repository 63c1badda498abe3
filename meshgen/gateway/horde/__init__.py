"""AI Horde's API, version 2, at ``/api/v2``: its clients and workers use the mesh by changing their base URL.

| file | what |
|---|---|
| errors | ``{"message", "rc"}``, and the input's faults as ``{"message", "errors"}`` |
| bodies | what clients send, with AI Horde's bounds |
| desk | requests that were taken in, by their ids |
| images, texts, forms | ask, check, status, cancel |
| pictures | results by URL, for a while |
| users, workers, teams, stats, status, documents, styles | to be read: users are the accounts of the mesh, workers its peers |
| shared_keys | keys for others, with limits |
| popping | existing workers fetch jobs here and hand in results |

Operators, moderators, patrons and bans have no counterpart: those routes answer as AI Horde does to a user without the role.
"""
