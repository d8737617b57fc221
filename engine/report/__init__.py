"""The monthly Restore Drill Report: facts in, figures and a record out, and the bundle that an auditor can check.

The room computes and writes what it is given; it neither looks into a catalog nor holds a key. What a figure is made of
are the signed receipts and the history wherever those hold it, so that :mod:`engine.report.recount` can make each one
anew from the bundle alone, on another path. It refuses to say more than its sources do.
"""
