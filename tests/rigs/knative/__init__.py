"""Knative's data path on one machine: a real ingress, doubles of everything behind it.

    async with KnativeRig(real_runner) as rig:
        ...  # talk to rig.ingress_url with Host: rig.host

Envoy is the real one. Activator, queue-proxy and Serving API are real HTTP servers that do
what was observed of the real components, unpleasant habits included. `python -m
tests.rigs.knative` starts it all and says where it is.
"""
