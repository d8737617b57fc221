"""Where the command line finds the function that writes files."""

from engine.service.outfile import new_file as new_file
from engine.service.outfile import unwritable as unwritable
