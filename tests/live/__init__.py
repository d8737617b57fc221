"""The whole product against real servers, worker processes and networks."""
