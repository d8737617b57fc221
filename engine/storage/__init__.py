"""Destinations. ``base`` is the contract, ``local`` a folder, ``retry`` and ``faulty`` wrap any of them."""
