"""What a user may type after ``--meter``; apart, so that showing it loads no meter and no numpy."""

from __future__ import annotations

HELP = (
    "auto; none; hwmon[:RAIL,RAIL] (INA sensors); jtop[:SECONDS]; pmic (Pi 5); rapl; tc66:PORT; fnirsi[:SERIAL] "
    "(FNB48, FNB58, C1); joulescope; ppk2:PORT[,MILLIVOLTS]; fake[:WATTS]"
)
