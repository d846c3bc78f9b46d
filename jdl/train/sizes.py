"""Sizes of arrays in few steps, so that runs whose sizes chance decides share a compiled program."""


def bucket(n: int) -> int:
    """The next multiple of an eighth of the power of two that holds `n`: at most a quarter more, near it mostly less.

    >>> [bucket(n) for n in (0, 7, 9, 57, 65, 209, 220)]
    [0, 7, 10, 64, 80, 224, 224]
    """
    step = _step(n)
    return -(-n // step) * step


def bucket_below(n: int) -> int:
    """The multiple of the same step that is not above `n`.

    >>> [bucket_below(n) for n in (0, 7, 57, 63)]
    [0, 7, 56, 56]
    """
    return n - n % _step(n)


def _step(n: int) -> int:
    return max(1, (1 << max(n - 1, 0).bit_length()) // 8)
