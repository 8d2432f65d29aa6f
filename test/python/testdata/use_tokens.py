"""Uses tokens.py as an application would; the arguments say how."""

import os
import sys

import psycopg2

from tokens import load_access_tokens, save_token, unseal

how, user_id = sys.argv[1], int(sys.argv[2])
connection = psycopg2.connect(os.environ["DATABASE_URL"])
with connection:
    if how == "save":
        save_token(connection, user_id, "accès-1", "refresh-1", 1900000000, "10.0.0.1", "Mozilla")
    elif how == "load":
        print(load_access_tokens(connection, [user_id, user_id + 1]))
    elif how == "unseal elsewhere":
        with connection.cursor() as cursor:
            cursor.execute("SELECT refresh_token FROM river.load_user_tokens(%s)", ([user_id],))
            stored = cursor.fetchone()[0]
        print(unseal(user_id, "refresh_token", stored))
        for place in ((user_id + 1, "refresh_token"), (user_id, "access_token")):
            try:
                print(unseal(*place, stored))
            except Exception as error:
                print(type(error).__name__)
connection.close()
