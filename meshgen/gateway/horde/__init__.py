"""AI Horde's API, version 2, at ``/api/v2``: its clients and workers use the mesh by changing their base URL.

| file | what |
|---|---|
| errors | ``{"message", "rc"}``, and the input's faults as ``{"message", "errors"}`` |
| bodies | what clients send, with AI Horde's bounds |
| images, texts, forms | ask, check, status, cancel: together in asking, their answers in answers |
| translation | a request for pictures in the mesh's terms, with warnings for what has no counterpart |
| intake | what a request costs, whether the key allows it, the jobs that it becomes |
| desk | requests that were taken in, by their ids |
| waiting | how they go: how long, how many before, whether at all |
| sources, fetching | pictures that go in; what is fetched comes from public addresses alone |
| pictures, webhooks | results by URL, for a while; told to others' servers |
| users, workers, teams, stats, status, documents, styles | to be read: users are the accounts of the mesh, workers its peers |
| shared_keys | keys for others, with limits |
| popping | existing workers fetch jobs here and hand in results |

Operators, moderators, patrons and bans have no counterpart: those routes answer as AI Horde does to a user without the role.
"""
