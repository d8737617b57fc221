"""The checkpoint API: HTTP for machines, and a few pages for people with a browser.

It asks the engine and queues jobs, like every other face of the product; it holds no key of the installation and runs
no job. What it refuses: a request without a key, a bind beyond this machine without TLS, anything larger than 16 KiB.
"""
