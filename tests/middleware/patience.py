"""How Hypothesis runs here: no example fails because the machine was busy."""

from hypothesis import HealthCheck, settings

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
